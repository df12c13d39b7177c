/** A session that was shared. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function SharedPage(): ReactNode {
  const t = useT();
  return <EmptyState icon="share" title={t('app.loading')} />;
}
