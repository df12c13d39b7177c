/** Tenants, keys, budgets, audit. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function AdminPage(): ReactNode {
  const t = useT();
  return <EmptyState icon="shield" title={t('app.loading')} />;
}
