/** JSON as a tree of parts that open and close. What is closed is not drawn. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { useT } from '../../i18n';
import { Button } from '../../ui';

/** The entries of a list or object that are drawn before more are asked for. */
const DRAWN_AT_ONCE = 200;
/** The letters of a text that are drawn before more are asked for. */
const LETTERS_AT_ONCE = 2000;

/** A value, with its name if it has one. Those of the first levels are open. */
export function JsonTree(props: { value: unknown; name?: string; level?: number }): ReactNode {
  const t = useT();
  const { value, name, level = 0 } = props;
  const [open, setOpen] = useState(level < 2);
  const [most, setMost] = useState(DRAWN_AT_ONCE);
  if (typeof value !== 'object' || value === null) {
    return (
      <div className="json-leaf">
        {name !== undefined && <span className="json-name">{name}: </span>}
        <Leaf value={value} />
      </div>
    );
  }
  const entries = Object.entries(value);
  const list = Array.isArray(value);
  const [from, to] = list ? ['[', ']'] : ['{', '}'];
  return (
    <details className="json-node" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {name !== undefined && <span className="json-name">{name}: </span>}
        <span className="muted">
          {from}
          {!open && (entries.length === 0 ? '' : ` ${t('log.entries', { count: entries.length })} `)}
          {!open && to}
        </span>
      </summary>
      {open && (
        <div className="json-inside">
          {entries.slice(0, most).map(([key, inside]) => (
            <JsonTree key={key} name={key} value={inside} level={level + 1} />
          ))}
          {entries.length > most && (
            <Button small look="quiet" onClick={() => setMost(most * 4)}>
              {t('common.loadMore')}
            </Button>
          )}
          <span className="muted">{to}</span>
        </div>
      )}
    </details>
  );
}

function Leaf(props: { value: unknown }): ReactNode {
  const t = useT();
  const [whole, setWhole] = useState(false);
  const { value } = props;
  if (typeof value !== 'string') return <span className={`json-${value === null ? 'null' : typeof value}`}>{String(value)}</span>;
  const long = value.length > LETTERS_AT_ONCE && !whole;
  return (
    <>
      <span className="json-string">{JSON.stringify(long ? value.slice(0, LETTERS_AT_ONCE) : value)}</span>
      {long && (
        <Button small look="quiet" onClick={() => setWhole(true)}>
          {t('common.showAll')}
        </Button>
      )}
    </>
  );
}
