/** A session's log, for developers. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function LogPage(): ReactNode {
  const t = useT();
  return <EmptyState icon="code" title={t('app.loading')} />;
}
