/** One part of a turn: words, thinking, a tool's card, a question, a notice. */

import type { ReactNode } from 'react';
import { memo, useState } from 'react';
import type { Translate } from '../i18n';
import { useFormat, useT } from '../i18n';
import { modes } from '../session/options';
import { Button, Icon } from '../ui';
import { Markdown } from './Markdown';
import type { Block, Notice, Words } from './model';
import { PermissionCard } from './PermissionCard';
import type { Inside } from './rows';
import { ToolCard } from './ToolCard';

/** A block, and what is below it. `live` while its turn runs. */
export const BlockView = memo(function BlockView(props: { block: Block; inside: Inside; live: boolean }): ReactNode {
  const { block } = props;
  switch (block.type) {
    case 'text':
      return (
        <div className="said" data-streaming={block.streaming || undefined}>
          <Markdown text={block.text} streaming={block.streaming} />
        </div>
      );
    case 'thinking':
      return <Thinking words={block} />;
    case 'tool':
      return <ToolCard tool={block} inside={props.inside} live={props.live} />;
    case 'ask':
      return <PermissionCard request={block.request} resolution={block.resolution} over={!props.live} />;
    case 'notice':
      return <NoticeLine notice={block} />;
    case 'other':
      return <pre className="output">{JSON.stringify(block.content, null, 2)}</pre>;
  }
});

/** What the model thought; folded, for it is long. */
function Thinking(props: { words: Words }): ReactNode {
  const t = useT();
  const [open, setOpen] = useState(false);
  const { text, streaming } = props.words;
  const line = text.trim().split('\n').pop() ?? '';
  return (
    <div className="thinking">
      <button type="button" className="thinking-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name={open ? 'chevronDown' : 'chevronRight'} size={15} />
        <span>{streaming ? t('conversation.thinking') : t('conversation.thought')}</span>
        {!open && <span className="thinking-line">{line}</span>}
      </button>
      {open && (
        <div className="thinking-body">
          <Markdown text={text} streaming={streaming} />
        </div>
      )}
    </div>
  );
}

function modeName(mode: string, t: Translate): string {
  const known = modes.find((one) => one === mode);
  return known === undefined ? mode : t(`mode.${known}`);
}

/** Something that happened, in a line. */
export function NoticeLine(props: { notice: Notice; open?: boolean; onToggle?: () => void }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { what, detail, at } = props.notice;
  const gone = (props.notice.gone ?? []).filter((entry) => entry.type === 'turn').length;
  const text = (): string => {
    switch (what) {
      case 'reset':
        return t('notice.reset');
      case 'rewound':
        return detail.conversation === true ? t('notice.rewound') : t('notice.filesRewound');
      case 'budget':
        return t('notice.budget', { percent: Number(detail.percent), scope: String(detail.scope) });
      case 'resumed':
        return t('notice.resumed');
      case 'gap':
        return t('notice.gap');
      case 'task':
        return t('notice.task');
      case 'updated':
        if ('allowed_tool' in detail) return t('notice.allowedTool', { tool: String(detail.allowed_tool) });
        if ('permission_mode' in detail) return t('notice.mode', { mode: modeName(String(detail.permission_mode), t) });
        return t('notice.model', { model: String(detail.model ?? t('session.modelDefault')) });
    }
  };
  return (
    <p className={what === 'budget' || what === 'gap' ? 'notice notice-attention' : 'notice'}>
      <span>{text()}</span>
      <time dateTime={at}>{format.time(at)}</time>
      {gone > 0 && (
        <Button look="quiet" small aria-expanded={props.open} onClick={props.onToggle}>
          {props.open ? t('notice.hideGone') : t('notice.showGone', { count: gone })}
        </Button>
      )}
    </p>
  );
}
