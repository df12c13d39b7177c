/** The list of sessions. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function SessionsPage(): ReactNode {
  const t = useT();
  return <EmptyState icon="chat" title={t('app.loading')} />;
}
