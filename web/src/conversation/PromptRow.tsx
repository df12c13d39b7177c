/** What the user asked. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { useFormat, useT } from '../i18n';
import { Button, Icon } from '../ui';
import type { Turn } from './model';

const LONG = 1200;

/** A prompt, with what was attached to it. A very long one is folded. */
export function PromptRow(props: { turn: Turn }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { turn } = props;
  const [whole, setWhole] = useState(false);
  const long = turn.prompt.length > LONG || turn.prompt.split('\n').length > 20;
  return (
    <div
      className="reading prompt-row"
      role="group"
      data-turn={turn.id}
      tabIndex={-1}
      aria-labelledby={`prompt-${turn.id}`}
    >
      <div className="prompt">
        <h2 id={`prompt-${turn.id}`} className="sr-only">
          {turn.copied ? t('conversation.youThen') : t('conversation.you', { at: format.dateTime(turn.startedAt) })}
        </h2>
        <p className={long && !whole ? 'prompt-text prompt-folded' : 'prompt-text'}>{turn.prompt}</p>
        {long && (
          <Button look="quiet" small onClick={() => setWhole(!whole)} aria-expanded={whole}>
            {whole ? t('common.showLess') : t('common.showAll')}
          </Button>
        )}
        {turn.attachments.length > 0 && (
          <ul className="chips" aria-label={t('conversation.attachments')}>
            {turn.attachments.map((attachment, at) => (
              <li key={at} className="chip">
                <Icon name="paperclip" size={14} />
                <span className="truncate">{attachment.name ?? attachment.media_type}</span>
                <span className="muted">{format.bytes(attachment.size_bytes)}</span>
              </li>
            ))}
          </ul>
        )}
      </div>
    </div>
  );
}
