/** Looking through a conversation. The browser's own search sees only the rows that are drawn. */

import type { ReactNode } from 'react';
import { useEffect, useMemo, useRef, useState } from 'react';
import { useT } from '../i18n';
import { Button } from '../ui';
import type { Row } from './rows';
import { textOfRow } from './rows';

/** The field. `onGo` is told the row to look at, and -1 when there is none. */
export function Find(props: { rows: Row[]; onGo: (at: number) => void; onClose: () => void }): ReactNode {
  const t = useT();
  const { rows, onGo } = props;
  const [text, setText] = useState('');
  const [step, setStep] = useState(0);
  const field = useRef<HTMLInputElement>(null);
  const wanted = text.trim().toLowerCase();
  const found = useMemo(() => {
    if (wanted === '') return [];
    return rows.flatMap((row, at) => (textOfRow(row).includes(wanted) ? [at] : []));
  }, [rows, wanted]);
  const at = found.length === 0 ? -1 : ((step % found.length) + found.length) % found.length;
  const row = found[at] ?? -1;
  const go = useRef(onGo);
  go.current = onGo;
  useEffect(() => go.current(row), [row, wanted]);
  useEffect(() => field.current?.focus(), []);
  return (
    <search
      className="find"
      onKeyDown={(event) => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          props.onClose();
        } else if (event.key === 'Enter') {
          event.preventDefault();
          setStep(at + (event.shiftKey ? -1 : 1));
        }
      }}
    >
      <input
        ref={field}
        className="input"
        type="search"
        aria-label={t('find.label')}
        placeholder={t('find.label')}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          // What was said last is what one looks for first.
          setStep(-1);
        }}
      />
      <span className="find-count" role="status">
        {wanted === '' ? '' : t('find.count', { at: at + 1, of: found.length })}
      </span>
      <Button
        look="quiet"
        small
        icon="arrowUp"
        aria-label={t('find.previous')}
        disabled={found.length === 0}
        onClick={() => setStep(at - 1)}
      />
      <Button
        look="quiet"
        small
        icon="arrowDown"
        aria-label={t('find.next')}
        disabled={found.length === 0}
        onClick={() => setStep(at + 1)}
      />
      <Button look="quiet" small icon="close" aria-label={t('common.close')} onClick={props.onClose} />
    </search>
  );
}
