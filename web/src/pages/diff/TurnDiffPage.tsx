/** What a turn changed in the workspace: the files before it against those after it. */

import type { ReactNode } from 'react';
import { PaddockError, sessionPath } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import type { DiffView as Diff } from '../../api/types';
import { href } from '../../app/router';
import { useT } from '../../i18n';
import type { PageProps } from '../../routes';
import { useSession } from '../../session/SessionContext';
import { Button, ButtonLink, EmptyState, ErrorNote, Loading } from '../../ui';
import { DiffView } from './DiffView';

/** The page. */
export default function TurnDiffPage(props: PageProps): ReactNode {
  const t = useT();
  const { session } = useSession();
  const turn = props.params.turn ?? '';
  return (
    <div className="view">
      <div className="view-head">
        <h2>{t('diff.turnTitle')}</h2>
        <div className="view-actions">
          <ButtonLink small look="quiet" icon="chat" to={href('sessions', session.session_id, 'turns', turn)}>
            {t('diff.toTurn')}
          </ButtonLink>
        </div>
      </div>
      <TurnDiff turn={turn} />
    </div>
  );
}

/** What a turn changed, read when it is shown. */
export function TurnDiff(props: { turn: string }): ReactNode {
  const t = useT();
  const api = useApi();
  const { session } = useSession();
  const to = sessionPath(session.session_id, 'turns', props.turn, 'diff');
  const diff = useLoad((signal) => api.get<Diff>(to, undefined, signal), [api, to]);
  if (diff.error instanceof PaddockError && diff.error.status === 404) {
    return <EmptyState icon="diff" title={t('diff.noCheckpoint')} hint={t('diff.noCheckpointHint')} />;
  }
  if (diff.error) return <ErrorNote error={diff.error} onRetry={diff.reload} />;
  if (diff.data === undefined) return <Loading />;
  return (
    <>
      <DiffView diff={diff.data} label={t('diff.turnTitle')} />
      {diff.data.files.length > 0 && (
        <div className="view-actions">
          <Button small icon="download" onClick={() => void api.download(to, `${props.turn}.diff`, { format: 'unified' })}>
            {t('diff.download')}
          </Button>
        </div>
      )}
    </>
  );
}
