/** How a session stands, as a badge. */

import type { ReactNode } from 'react';
import { useInbox } from '../app/inbox';
import type { SessionView } from '../api/types';
import { useT } from '../i18n';
import type { Tone } from '../ui';
import { Badge } from '../ui';
import type { SessionState } from './options';
import { stateOf } from './options';

const tones: Record<SessionState, Tone> = {
  asking: 'attention',
  busy: 'busy',
  idle: 'plain',
  closed: 'neutral',
  expired: 'neutral',
};

/** The badge. */
export function StateBadge(props: { session: SessionView }): ReactNode {
  const t = useT();
  const { sessions } = useInbox();
  const state = stateOf(props.session, sessions);
  return (
    <Badge tone={tones[state]} dot={state === 'asking' || state === 'busy'}>
      {t(`session.state.${state}`)}
    </Badge>
  );
}
