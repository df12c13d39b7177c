/** A button that copies a text. */

import type { ReactNode } from 'react';
import { useEffect, useState } from 'react';
import { useT } from '../i18n';
import { Button } from './Button';
import { useToast } from './Toast';

/** Copies; where the browser gives no clipboard (a page without TLS), it says so. */
export function CopyButton(props: { text: string | (() => string); label?: string; small?: boolean }): ReactNode {
  const t = useT();
  const toast = useToast();
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 2000);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async (): Promise<void> => {
    const text = typeof props.text === 'string' ? props.text : props.text();
    try {
      await copyText(text);
      setDone(true);
    } catch (error) {
      toast.fail(error);
    }
  };
  const label = done ? t('common.copied') : (props.label ?? t('common.copy'));
  return (
    <Button
      look="quiet"
      small={props.small ?? true}
      icon={done ? 'check' : 'copy'}
      aria-label={label}
      onClick={() => void copy()}
    />
  );
}

/** Copies a text. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Pages that are not served over TLS have no clipboard of their own.
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'sr-only';
  document.body.append(field);
  field.select();
  const copied = document.execCommand('copy');
  field.remove();
  if (!copied) throw new Error('the browser does not let this page copy');
}
