/** What a turn changed. */

import type { ReactNode } from 'react';
import { useT } from '../../i18n';
import { EmptyState } from '../../ui';

/** The page. */
export default function TurnDiffPage(): ReactNode {
  const t = useT();
  return <EmptyState icon="diff" title={t('app.loading')} />;
}
