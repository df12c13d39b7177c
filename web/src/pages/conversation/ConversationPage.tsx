/** A session's conversation. */

import type { ReactNode } from 'react';
import { ConversationView } from '../../conversation/ConversationView';
import type { PageProps } from '../../routes';

/** The page. With a turn in its address it begins there. */
export default function ConversationPage(props: PageProps): ReactNode {
  return <ConversationView turn={props.params.turn} />;
}
