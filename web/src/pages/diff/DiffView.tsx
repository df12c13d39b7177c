/** Shows what changed, file by file. Signs and words tell what colours do; `j` and `k` go from change to change. */

import type { KeyboardEvent, ReactNode } from 'react';
import { memo, useId, useRef, useState } from 'react';
import type { DiffFile, DiffHunk, DiffView as Diff } from '../../api/types';
import type { Key } from '../../i18n';
import { useFormat, useT } from '../../i18n';
import { Badge, Button, CopyButton, EmptyState, Icon } from '../../ui';
import type { Tone } from '../../ui';
import '../../styles/views.css';

/** Files of more lines than this are folded at first. */
const FOLDED_FROM = 400;
/** The lines of a file that are drawn before more are asked for. */
const DRAWN_AT_ONCE = 1500;

const tones: Record<DiffFile['status'], Tone> = {
  added: 'good',
  modified: 'busy',
  deleted: 'bad',
  renamed: 'neutral',
  copied: 'neutral',
  type_changed: 'attention',
};

/** A diff. */
export function DiffView(props: { diff: Diff; label?: string }): ReactNode {
  const t = useT();
  const { diff } = props;
  const box = useRef<HTMLDivElement>(null);
  const [folded, setFolded] = useState(() => new Set(diff.files.filter((file) => linesOf(file) > FOLDED_FROM).map(idOf)));
  const [shown, setShown] = useState(diff);
  if (shown !== diff) {
    setShown(diff);
    setFolded(new Set(diff.files.filter((file) => linesOf(file) > FOLDED_FROM).map(idOf)));
  }
  if (diff.files.length === 0) return <EmptyState icon="diff" title={t('diff.none')} />;
  const toggle = (file: DiffFile): void => {
    const next = new Set(folded);
    if (!next.delete(idOf(file))) next.add(idOf(file));
    setFolded(next);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || (event.key !== 'j' && event.key !== 'k')) return;
    const stops = [...(box.current?.querySelectorAll<HTMLElement>('[data-stop]') ?? [])];
    const current = document.activeElement?.closest<HTMLElement>('[data-stop]');
    const at = current ? stops.indexOf(current) : -1;
    const next = stops[event.key === 'j' ? at + 1 : Math.max(0, at - 1)];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: 'nearest' });
  };
  const allFolded = diff.files.every((file) => folded.has(idOf(file)));
  return (
    <div ref={box} className="diff" role="group" aria-label={props.label ?? t('diff.label')} onKeyDown={onKeyDown}>
      <div className="diff-summary">
        <span>{t('diff.files', { count: diff.files.length })}</span>
        <Counts additions={diff.additions} deletions={diff.deletions} />
        <span className="diff-keys muted">{t('diff.keys')}</span>
        <Button small look="quiet" onClick={() => setFolded(new Set(allFolded ? [] : diff.files.map(idOf)))}>
          {allFolded ? t('diff.unfoldAll') : t('diff.foldAll')}
        </Button>
      </div>
      {diff.files.map((file) => (
        <File key={idOf(file)} file={file} folded={folded.has(idOf(file))} onToggle={() => toggle(file)} />
      ))}
      {diff.truncated && <p className="note-line">{t('diff.truncated')}</p>}
    </div>
  );
}

/** How many lines came and went: `+3 −1`. */
export function Counts(props: { additions: number; deletions: number }): ReactNode {
  const t = useT();
  const format = useFormat();
  return (
    <span className="diff-counts">
      <span className="diff-plus">
        <span aria-hidden="true">+{format.number(props.additions)}</span>
        <span className="sr-only">{t('diff.additions', { count: props.additions })}</span>
      </span>{' '}
      <span className="diff-minus">
        <span aria-hidden="true">−{format.number(props.deletions)}</span>
        <span className="sr-only">{t('diff.deletions', { count: props.deletions })}</span>
      </span>
    </span>
  );
}

function File(props: { file: DiffFile; folded: boolean; onToggle: () => void }): ReactNode {
  const t = useT();
  const { file, folded } = props;
  const body = useId();
  return (
    <section className="diff-file" aria-label={file.path}>
      <header className="diff-file-head">
        <button
          type="button"
          className="diff-fold"
          data-stop
          aria-expanded={!folded}
          aria-controls={body}
          onClick={props.onToggle}
        >
          <Icon name={folded ? 'chevronRight' : 'chevronDown'} size={16} />
          <span className="diff-path">
            {file.old_path && file.old_path !== file.path && (
              <>
                <span className="muted">{file.old_path}</span> → {' '}
              </>
            )}
            {file.path}
          </span>
        </button>
        <Badge tone={tones[file.status]}>{t(`diff.status.${file.status}` as Key)}</Badge>
        <Counts additions={file.additions} deletions={file.deletions} />
        <CopyButton text={file.path} label={t('diff.copyPath')} />
      </header>
      <div id={body} hidden={folded}>
        {!folded && <Lines file={file} />}
      </div>
    </section>
  );
}

const Lines = memo(function Lines(props: { file: DiffFile }): ReactNode {
  const t = useT();
  const { file } = props;
  const [most, setMost] = useState(DRAWN_AT_ONCE);
  if (file.binary) return <p className="diff-note">{t('diff.binary')}</p>;
  if (file.hunks.length === 0) return <p className="diff-note">{file.truncated ? t('diff.fileTruncated') : t('diff.noLines')}</p>;
  const hunks: ReactNode[] = [];
  let left = most;
  for (const [at, hunk] of file.hunks.entries()) {
    if (left <= 0) break;
    hunks.push(<Hunk key={at} hunk={hunk} most={left} />);
    left -= hunk.lines.length;
  }
  return (
    <div className="diff-scroll" tabIndex={0} role="region" aria-label={t('diff.linesOf', { path: file.path })}>
      <table className="diff-table">
        <thead className="sr-only">
          <tr>
            <th scope="col">{t('diff.oldLine')}</th>
            <th scope="col">{t('diff.newLine')}</th>
            <th scope="col">{t('diff.text')}</th>
          </tr>
        </thead>
        {hunks}
      </table>
      {left < 0 && (
        <div className="diff-more">
          <Button small onClick={() => setMost(most * 4)}>
            {t('diff.moreLines', { count: -left })}
          </Button>
        </div>
      )}
      {file.truncated && <p className="diff-note">{t('diff.fileTruncated')}</p>}
    </div>
  );
});

function Hunk(props: { hunk: DiffHunk; most: number }): ReactNode {
  const t = useT();
  const { hunk } = props;
  const range = `@@ −${hunk.old_start},${hunk.old_lines} +${hunk.new_start},${hunk.new_lines} @@`;
  return (
    <tbody>
      <tr className="diff-hunk">
        <th colSpan={3} scope="colgroup">
          <span data-stop tabIndex={-1} className="diff-stop">
            {range} <span className="muted">{hunk.header}</span>
          </span>
        </th>
      </tr>
      {hunk.lines.slice(0, props.most).map((line, at) => (
        <tr key={at} className={`diff-line diff-${line.kind}`}>
          <td className="diff-number">{line.old_line}</td>
          <td className="diff-number">{line.new_line}</td>
          <td className="diff-text">
            {line.kind !== 'context' && <span className="sr-only">{t(`diff.line.${line.kind}`)} </span>}
            <span className="diff-sign" aria-hidden="true">
              {line.kind === 'added' ? '+' : line.kind === 'removed' ? '−' : ' '}
            </span>
            {line.text}
            {line.no_newline && <span className="muted"> {t('diff.noNewline')}</span>}
          </td>
        </tr>
      ))}
    </tbody>
  );
}

function idOf(file: DiffFile): string {
  return `${file.old_path ?? ''}\n${file.path}`;
}

function linesOf(file: DiffFile): number {
  return file.hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0);
}
