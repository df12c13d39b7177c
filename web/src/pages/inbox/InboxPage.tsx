/** What agents ask. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function InboxPage(): ReactNode {
  const t = useT();
  return <EmptyState icon="inbox" title={t('app.loading')} />;
}
