/** Markdown as agents write it. No HTML is taken over, and nothing is fetched: pictures are shown as links. */

import type { ComponentProps, ReactNode } from 'react';
import { memo, useMemo } from 'react';
import ReactMarkdown from 'react-markdown';
import remarkGfm from 'remark-gfm';
import { Link } from '../app/router';
import { useT } from '../i18n';
import { CopyButton } from '../ui';
import { useActions } from './actions';
import { splitSettled } from './settled';

const plugins = [remarkGfm];

const components: ComponentProps<typeof ReactMarkdown>['components'] = {
  a: ({ href, children }) => <MarkdownLink to={href}>{children}</MarkdownLink>,
  img: ({ src, alt }) => (
    <MarkdownLink to={typeof src === 'string' ? src : undefined}>{alt || String(src ?? '')}</MarkdownLink>
  ),
  pre: ({ children }) => <CodeBlock>{children}</CodeBlock>,
  table: ({ children }) => (
    <div className="md-table" tabIndex={0} role="group">
      <table>{children}</table>
    </div>
  ),
  // A page has one outline; what an agent writes goes below it.
  h1: ({ children }) => <h4 className="md-h1">{children}</h4>,
  h2: ({ children }) => <h4 className="md-h2">{children}</h4>,
  h3: ({ children }) => <h5>{children}</h5>,
  h4: ({ children }) => <h6>{children}</h6>,
  h5: ({ children }) => <h6>{children}</h6>,
  input: (props) => <input {...props} aria-label={props.checked ? '✓' : '–'} />,
};

/** A piece that does not change is not read again. */
const Piece = memo(function Piece(props: { text: string }): ReactNode {
  return (
    <ReactMarkdown remarkPlugins={plugins} components={components}>
      {props.text}
    </ReactMarkdown>
  );
});

/** A text. While it grows, what is settled of it is not read again. */
export function Markdown(props: { text: string; streaming?: boolean }): ReactNode {
  const [settled, rest] = useMemo(
    () => (props.streaming ? splitSettled(props.text) : [props.text, '']),
    [props.text, props.streaming],
  );
  return (
    <div className="md">
      {settled !== '' && <Piece text={settled} />}
      {rest !== '' && <Piece text={rest} />}
    </div>
  );
}

/** A link outside opens a page of its own; one without a scheme is a file of the workspace. */
function MarkdownLink(props: { to: string | undefined; children?: ReactNode }): ReactNode {
  const { fileLink } = useActions();
  const { to = '' } = props;
  if (/^(?:https?|mailto):/i.test(to)) {
    return (
      <a href={to} target="_blank" rel="noopener noreferrer">
        {props.children}
      </a>
    );
  }
  const file = fileLink?.(unescaped(to)) ?? null;
  return file === null ? <span>{props.children}</span> : <Link to={file}>{props.children}</Link>;
}

function unescaped(path: string): string {
  try {
    return decodeURI(path.split('#')[0] ?? '');
  } catch {
    return path;
  }
}

function CodeBlock(props: { children?: ReactNode }): ReactNode {
  const t = useT();
  const { text, language } = codeOf(props.children);
  return (
    <div className="code">
      <div className="code-head">
        <span>{language}</span>
        <CopyButton text={text} label={t('common.copyCode')} />
      </div>
      <pre tabIndex={0}>{props.children}</pre>
    </div>
  );
}

function codeOf(children: ReactNode): { text: string; language: string } {
  const { props } = (children ?? {}) as { props?: { children?: unknown; className?: string } };
  const text = typeof props?.children === 'string' ? props.children.replace(/\n$/, '') : '';
  return { text, language: /language-(\S+)/.exec(props?.className ?? '')?.[1] ?? '' };
}
