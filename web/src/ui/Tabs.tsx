/** Tabs that are links, and tabs that change what is below them. */

import type { KeyboardEvent, ReactNode } from 'react';
import { useId, useRef } from 'react';

/** Links to the pages of one thing; the one that is shown is marked. */
export function TabLinks(props: {
  label: string;
  tabs: { to: string; label: ReactNode; current: boolean }[];
}): ReactNode {
  return (
    <nav className="tabs" aria-label={props.label}>
      {props.tabs.map((tab) => (
        <a key={tab.to} href={`#${tab.to}`} className="tab" aria-current={tab.current ? 'page' : undefined}>
          {tab.label}
        </a>
      ))}
    </nav>
  );
}

/** Tabs over a panel; the arrow keys go from one to the next. */
export function Tabs<T extends string>(props: {
  label: string;
  tabs: readonly { id: T; label: ReactNode }[];
  current: T;
  onChange: (id: T) => void;
  children: ReactNode;
}): ReactNode {
  const base = useId();
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = props.tabs.findIndex((tab) => tab.id === props.current);
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -at, End: props.tabs.length - 1 - at }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = (at + step + props.tabs.length) % props.tabs.length;
    const tab = props.tabs[next];
    if (tab === undefined) return;
    props.onChange(tab.id);
    list.current?.querySelectorAll('button')[next]?.focus();
  };
  return (
    <>
      <div ref={list} className="tabs" role="tablist" aria-label={props.label} onKeyDown={onKeyDown}>
        {props.tabs.map((tab) => (
          <button
            key={tab.id}
            type="button"
            role="tab"
            id={`${base}-${tab.id}`}
            className="tab"
            aria-selected={tab.id === props.current}
            aria-controls={`${base}-panel`}
            tabIndex={tab.id === props.current ? 0 : -1}
            onClick={() => props.onChange(tab.id)}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${base}-panel`} aria-labelledby={`${base}-${props.current}`}>
        {props.children}
      </div>
    </>
  );
}
