/** The frame of a page: its title, what can be done, and its content. */

import type { ReactNode } from 'react';
import { useEffect, useRef } from 'react';
import { setTitle } from '../app/title';

/** The head of a page. Its title is the document's too, and has the focus when the page is gone to. */
export function PageHead(props: { title: string; lead?: ReactNode; children?: ReactNode }): ReactNode {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    setTitle(props.title);
  }, [props.title]);
  useEffect(() => {
    // Not on the first page: the browser's own place to begin is right there.
    if (document.body.dataset.navigated) heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <header className="page-head">
      <div className="page-title">
        <h1 ref={heading} tabIndex={-1}>
          {props.title}
        </h1>
        {props.lead && <p>{props.lead}</p>}
      </div>
      {props.children && <div className="page-actions">{props.children}</div>}
    </header>
  );
}

/** A page with a head that scrolls as a whole. */
export function Page(props: { title: string; lead?: ReactNode; actions?: ReactNode; children: ReactNode }): ReactNode {
  return (
    <div className="page">
      <div className="page-inside">
        <PageHead title={props.title} lead={props.lead}>
          {props.actions}
        </PageHead>
        {props.children}
      </div>
    </div>
  );
}
