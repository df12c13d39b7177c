/** A session's files. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function FilesPage(): ReactNode {
  const t = useT();
  return <EmptyState icon="folder" title={t('app.loading')} />;
}
