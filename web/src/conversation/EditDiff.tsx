/** What an edit changes, as lines that go and lines that come. */

import { diffLines } from 'diff';
import type { ReactNode } from 'react';
import { memo, useMemo, useState } from 'react';
import type { JsonObject } from '../api/types';
import { useT } from '../i18n';
import { Button } from '../ui';

/** A text that takes another's place. */
export interface Edit {
  before: string;
  after: string;
}

interface Line {
  kind: 'added' | 'removed' | 'context' | 'cut';
  text: string;
}

const AROUND = 3;
const SHOWN = 24;
const LONGEST = 200_000;

/** The edits that a call makes; null when it makes none. */
export function editsOf(name: string, input: JsonObject): Edit[] | null {
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  switch (name) {
    case 'Edit':
      return [{ before: text(input.old_string), after: text(input.new_string) }];
    case 'MultiEdit':
      return Array.isArray(input.edits)
        ? (input.edits as JsonObject[]).map((edit) => ({ before: text(edit.old_string), after: text(edit.new_string) }))
        : null;
    case 'Write':
      return [{ before: '', after: text(input.content) }];
    case 'NotebookEdit':
      return [{ before: '', after: text(input.new_source) }];
    default:
      return null;
  }
}

/** The lines of all edits. Many are folded. */
export const EditDiff = memo(function EditDiff(props: { edits: Edit[] }): ReactNode {
  const t = useT();
  const [whole, setWhole] = useState(false);
  const lines = useMemo(
    () => props.edits.flatMap((edit, at) => [...(at > 0 ? [cut] : []), ...linesOf(edit)]),
    [props.edits],
  );
  const shown = whole || lines.length <= SHOWN + 4 ? lines : lines.slice(0, SHOWN);
  const count = (kind: Line['kind']): number => lines.filter((line) => line.kind === kind).length;
  return (
    <div className="edit">
      <p className="sr-only">{t('tool.editCount', { added: count('added'), removed: count('removed') })}</p>
      <div className="edit-lines" tabIndex={0} role="group" aria-label={t('tool.edit')}>
        {shown.map((line, at) => (
          <div key={at} className={`edit-line edit-${line.kind}`}>
            <span className="edit-mark">{line.kind === 'added' ? '+' : line.kind === 'removed' ? '−' : ' '}</span>
            <span>{line.kind === 'cut' ? '⋯' : line.text || ' '}</span>
          </div>
        ))}
      </div>
      {shown.length < lines.length || whole ? (
        <Button look="quiet" small onClick={() => setWhole(!whole)} aria-expanded={whole}>
          {whole ? t('common.showLess') : t('tool.showLines', { count: lines.length })}
        </Button>
      ) : null}
    </div>
  );
});

const cut: Line = { kind: 'cut', text: '' };

function linesOf(edit: Edit): Line[] {
  // Comparing very long texts takes long; they are told as they are.
  const parts =
    edit.before.length + edit.after.length > LONGEST
      ? [
          { value: edit.before, removed: true, added: false },
          { value: edit.after, removed: false, added: true },
        ]
      : diffLines(edit.before, edit.after);
  const lines: Line[] = [];
  for (const [at, part] of parts.entries()) {
    if (part.value === '') continue;
    const texts = part.value.replace(/\n$/, '').split('\n');
    const kind = part.added ? 'added' : part.removed ? 'removed' : 'context';
    const most = at === 0 || at === parts.length - 1 ? AROUND : 2 * AROUND;
    if (kind === 'context' && texts.length > most) {
      const head = at === 0 ? [] : texts.slice(0, AROUND);
      const tail = at === parts.length - 1 ? [] : texts.slice(-AROUND);
      lines.push(...head.map((text) => ({ kind, text }) as Line), cut, ...tail.map((text) => ({ kind, text }) as Line));
    } else lines.push(...texts.map((text) => ({ kind, text }) as Line));
  }
  return lines;
}
