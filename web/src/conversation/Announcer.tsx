/** Tells people who do not see the page what happens in a conversation: answers, questions, ends. */

import type { ReactNode } from 'react';
import { useEffect, useRef, useState } from 'react';
import { useT } from '../i18n';
import type { Conversation, Turn } from './model';
import { openAsks } from './model';

/** A live region. What was there already when the page was opened is not told. */
export function Announcer(props: { conversation: Conversation; ready: boolean }): ReactNode {
  const t = useT();
  const [text, setText] = useState('');
  const told = useRef<{ id: string; ended: boolean; asks: number } | null>(null);
  const turn = props.conversation.entries.findLast((entry) => entry.type === 'turn') as Turn | undefined;
  useEffect(() => {
    if (!props.ready || turn === undefined) return;
    const before = told.current;
    const now = { id: turn.id, ended: turn.endedAt !== null, asks: openAsks(turn).length };
    told.current = now;
    if (before === null) return;
    if (now.asks > 0 && (before.id !== now.id || now.asks > before.asks)) setText(t('conversation.waitsForYou'));
    else if (now.ended && (before.id !== now.id || !before.ended)) {
      const words = turn.blocks.findLast((block) => block.type === 'text' && block.parent === null);
      setText(turn.error ? turn.error.message : words?.type === 'text' ? words.text.slice(0, 600) : t('tool.done'));
    } else if (before.id !== now.id) setText(t('conversation.working'));
  }, [props.ready, turn, t]);
  return (
    <div className="sr-only" role="log" aria-live="polite">
      {text}
    </div>
  );
}
