/** The files of a session's workspace. */

import type { ReactNode } from 'react';
import { href, navigate } from '../../app/router';
import type { PageProps } from '../../routes';
import { useSession } from '../../session/SessionContext';
import { FilesBrowser } from './FilesBrowser';

/** The page. */
export default function FilesPage(props: PageProps): ReactNode {
  const { session } = useSession();
  const base = ['sessions', session.session_id, 'files'];
  return (
    <FilesBrowser
      path={props.params.path ?? ''}
      onOpen={(path) => navigate(href(...base, ...path.split('/').filter(Boolean)))}
    />
  );
}
