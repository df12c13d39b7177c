/** The conversation as a long list of which only what is seen is drawn. It stays at its end while one is there. */

import { useVirtualizer } from '@tanstack/react-virtual';
import type { ReactNode } from 'react';
import { memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useT } from '../i18n';
import { Button } from '../ui';
import { BlockView, NoticeLine } from './BlockView';
import { Find } from './Find';
import type { Conversation } from './model';
import { PromptRow } from './PromptRow';
import type { Row } from './rows';
import { rowsOf } from './rows';
import { TurnFoot } from './TurnFoot';

const NEAR_PX = 24;
const guesses: Record<Row['kind'], number> = { prompt: 76, block: 64, foot: 44, notice: 36 };

/** The rows of a conversation. `target` is a turn that is to be looked at first; a change of `jump` goes to the end. */
export function Transcript(props: { conversation: Conversation; target: string | null; jump: number }): ReactNode {
  const t = useT();
  const { conversation, target } = props;
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const rows = useMemo(() => rowsOf(conversation, opened), [conversation, opened]);
  const toggle = useCallback((key: string): void => {
    setOpened((old) => {
      const next = new Set(old);
      if (!next.delete(key)) next.add(key);
      return next;
    });
  }, []);
  // A link may lead to a turn that was gone back from.
  const hidden = useMemo(() => noticeOver(conversation, target), [conversation, target]);
  useEffect(() => {
    if (hidden !== null) setOpened((old) => new Set(old).add(hidden));
  }, [hidden]);
  const box = useRef<HTMLDivElement>(null);
  const stick = useRef(target === null);
  const [away, setAway] = useState(false);
  const [finding, setFinding] = useState(false);
  const [found, setFound] = useState(-1);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: (at) => guesses[rows[at]?.kind ?? 'block'],
    getItemKey: (at) => rows[at]?.key ?? at,
    overscan: 10,
    paddingStart: 16,
    paddingEnd: 24,
  });
  const height = virtual.getTotalSize();

  useLayoutEffect(() => {
    const shown = box.current;
    if (shown !== null && stick.current) shown.scrollTop = shown.scrollHeight;
  }, [height, rows]);

  const toEnd = useCallback((): void => {
    const shown = box.current;
    stick.current = true;
    setAway(false);
    if (shown !== null) shown.scrollTop = shown.scrollHeight;
  }, []);

  useEffect(() => {
    if (props.jump > 0) toEnd();
  }, [props.jump, toEnd]);

  // The box itself gets smaller when a long prompt is written below it.
  useEffect(() => {
    const shown = box.current;
    if (shown === null) return;
    const observer = new ResizeObserver(() => {
      if (stick.current) shown.scrollTop = shown.scrollHeight;
    });
    observer.observe(shown);
    return () => observer.disconnect();
  }, []);

  // One leaves the end by scrolling up, not by what grows or shrinks by itself.
  const last = useRef({ top: 0, height: 0, box: 0 });
  const watch = (): void => {
    const shown = box.current;
    if (shown === null) return;
    const { top, height: before, box: boxBefore } = last.current;
    const now = { top: shown.scrollTop, height: shown.scrollHeight, box: shown.clientHeight };
    last.current = now;
    const near = now.height - now.top - now.box < NEAR_PX;
    if (near) stick.current = true;
    else if (now.top < top - 1 && now.height >= before && now.box === boxBefore) stick.current = false;
    setAway(!near && !stick.current);
  };

  const show = (at: number): void => {
    setFound(at);
    if (at < 0) return;
    stick.current = false;
    virtual.scrollToIndex(at, { align: 'center' });
  };
  const stopFinding = (): void => {
    setFinding(false);
    setFound(-1);
    box.current?.focus();
  };
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== 'f' || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
      // Asked for once more, it is the browser's own.
      if (finding || document.querySelector('dialog[open]') !== null) return;
      event.preventDefault();
      setFinding(true);
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [finding]);

  useTarget(target, rows, box, (at) => {
    stick.current = false;
    virtual.scrollToIndex(at, { align: 'start' });
  });

  return (
    <div className="transcript-frame">
      {finding ? (
        <Find rows={rows} onGo={show} onClose={stopFinding} />
      ) : (
        <Button
          className="find-open"
          look="quiet"
          small
          icon="search"
          aria-label={t('find.open')}
          onClick={() => setFinding(true)}
        />
      )}
      <div
        ref={box}
        className="transcript"
        role="region"
        aria-label={t('session.conversation')}
        tabIndex={0}
        onScroll={watch}
        onWheel={(event) => {
          if (event.deltaY < 0) stick.current = false;
        }}
      >
        <div className="virtual-space" style={{ height }}>
          {virtual.getVirtualItems().map((seen) => {
            const row = rows[seen.index];
            if (row === undefined) return null;
            return (
              <div
                key={seen.key}
                ref={virtual.measureElement}
                data-index={seen.index}
                className={`virtual-row${seen.index === found ? ' row-found' : ''}${row.gone ? ' row-gone' : ''}`}
                style={{ transform: `translateY(${seen.start}px)` }}
              >
                <RowView row={row} onToggle={toggle} />
              </div>
            );
          })}
        </div>
      </div>
      {away && (
        <Button className="to-end" small icon="arrowDown" onClick={toEnd}>
          {t('conversation.toEnd')}
        </Button>
      )}
    </div>
  );
}

/** Goes to a turn once it is there, and gives it the focus. Heights are guesses at first, so it looks more than once. */
function useTarget(
  target: string | null,
  rows: Row[],
  box: React.RefObject<HTMLDivElement | null>,
  scrollTo: (at: number) => void,
): void {
  const reached = useRef<string | null>(null);
  const at = target === null ? -1 : rows.findIndex((row) => row.kind === 'prompt' && row.turn.id === target);
  const go = useRef(scrollTo);
  go.current = scrollTo;
  useEffect(() => {
    if (target === null || at < 0 || reached.current === target) return;
    let tries = 0;
    let timer = 0;
    const look = (): void => {
      go.current(at);
      const prompt = box.current?.querySelector<HTMLElement>(`[data-turn="${CSS.escape(target)}"]`);
      if (prompt && tries > 1) {
        prompt.focus({ preventScroll: true });
        reached.current = target;
        return;
      }
      tries += 1;
      if (tries < 20) timer = requestAnimationFrame(look);
    };
    look();
    return () => cancelAnimationFrame(timer);
  }, [target, at, box]);
}

/** The notice that has a turn aside; null when it is among the others. */
function noticeOver(conversation: Conversation, target: string | null): string | null {
  if (target === null) return null;
  for (const entry of conversation.entries) {
    if (entry.type === 'notice' && entry.gone?.some((gone) => gone.type === 'turn' && gone.id === target))
      return entry.key;
  }
  return null;
}

const RowView = memo(function RowView(props: { row: Row; onToggle: (key: string) => void }): ReactNode {
  const { row } = props;
  switch (row.kind) {
    case 'prompt':
      return <PromptRow turn={row.turn} />;
    case 'block':
      return (
        <div className={row.tight ? 'reading reading-tight' : 'reading'}>
          <BlockView block={row.block} inside={row.inside} live={row.turn.endedAt === null} />
        </div>
      );
    case 'foot':
      return <TurnFoot turn={row.turn} gone={row.gone === true} />;
    case 'notice':
      return (
        <div className="reading">
          <NoticeLine notice={row.notice} open={row.open} onToggle={() => props.onToggle(row.key)} />
        </div>
      );
  }
});
