/** What a tool answered: texts and pictures. Long texts are folded. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import type { JsonObject } from '../api/types';
import { useT } from '../i18n';
import { Button, CopyButton } from '../ui';

const LINES = 16;
const CHARACTERS = 3000;

/** An answer, as it came: a text, or a list of content blocks. */
export function Output(props: { content: unknown; failed: boolean }): ReactNode {
  const blocks: unknown[] = Array.isArray(props.content) ? props.content : [props.content];
  return (
    <>
      {blocks.map((block, at) => {
        const picture = pictureOf(block);
        if (picture !== null) return <img key={at} className="output-picture" src={picture} alt="" />;
        return <OutputText key={at} text={textOf(block)} failed={props.failed} />;
      })}
    </>
  );
}

function OutputText(props: { text: string; failed: boolean }): ReactNode {
  const t = useT();
  const [whole, setWhole] = useState(false);
  const { text } = props;
  const short = shorten(text);
  const shown = whole ? text : short;
  if (text.trim() === '') return <p className="output-empty">{t('tool.noOutput')}</p>;
  return (
    <div className={props.failed ? 'output output-failed' : 'output'}>
      <pre tabIndex={0}>{shown}</pre>
      <div className="output-tools">
        <CopyButton text={text} />
      </div>
      {short.length < text.length && (
        <Button look="quiet" small onClick={() => setWhole(!whole)} aria-expanded={whole}>
          {whole ? t('common.showLess') : t('tool.showLines', { count: text.split('\n').length })}
        </Button>
      )}
    </div>
  );
}

function shorten(text: string): string {
  const lines = text.split('\n');
  // A few lines more are not worth a button.
  const byLines = lines.length > LINES + 4 ? lines.slice(0, LINES).join('\n') : text;
  return byLines.length > CHARACTERS + 500 ? byLines.slice(0, CHARACTERS) : byLines;
}

function textOf(block: unknown): string {
  if (typeof block === 'string') return withoutColours(block);
  if (typeof block === 'object' && block !== null) {
    const { type, text } = block as JsonObject;
    if (type === 'text' && typeof text === 'string') return withoutColours(text);
  }
  return block === undefined || block === null ? '' : JSON.stringify(block, null, 2);
}

/** A text without what terminals take for colours and moves. */
function withoutColours(text: string): string {
  return text.replace(/\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g, '');
}

function pictureOf(block: unknown): string | null {
  if (typeof block !== 'object' || block === null) return null;
  const { type, source } = block as { type?: unknown; source?: JsonObject };
  if (type !== 'image' || source?.type !== 'base64') return null;
  const media = String(source.media_type);
  return /^image\/(png|jpeg|gif|webp)$/.test(media) ? `data:${media};base64,${String(source.data)}` : null;
}
