/** What was used. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function UsagePage(): ReactNode {
  const t = useT();
  return <EmptyState icon="chart" title={t('app.loading')} />;
}
