/** Dialogs: the browser's own `<dialog>`, which keeps the focus inside and gives it back. */

import type { FormEvent, ReactNode } from 'react';
import { useEffect, useId, useRef } from 'react';
import { useT } from '../i18n';
import { Button } from './Button';
import { ErrorNote } from './Status';

/** A modal dialog. It is open while it is there; Escape and the close button call `onClose`. */
export function Dialog(props: { title: string; onClose: () => void; wide?: boolean; children: ReactNode }): ReactNode {
  const t = useT();
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  useEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    if (shown && !shown.open) {
      shown.showModal();
      // The close button comes first, and is not what one came for.
      shown.querySelector<HTMLElement>('.dialog-body :is(input, textarea, select, button):not(:disabled)')?.focus();
    }
    return () => {
      shown?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={props.wide ? 'dialog dialog-wide' : 'dialog'}
      aria-labelledby={title}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === dialog.current) props.onClose();
      }}
    >
      <div className="dialog-inside">
        <header className="dialog-head">
          <h2 id={title}>{props.title}</h2>
          <Button look="quiet" icon="close" aria-label={t('common.close')} onClick={props.onClose} />
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

/** A dialog that is a form: fields, an error, and two buttons. */
export function FormDialog(props: {
  title: string;
  onClose: () => void;
  onSubmit: () => void;
  submit: string;
  danger?: boolean;
  busy?: boolean;
  disabled?: boolean;
  error?: unknown;
  wide?: boolean;
  children?: ReactNode;
}): ReactNode {
  const t = useT();
  const send = (event: FormEvent): void => {
    event.preventDefault();
    if (!props.busy && !props.disabled) props.onSubmit();
  };
  return (
    <Dialog title={props.title} onClose={props.onClose} {...(props.wide ? { wide: true } : {})}>
      <form onSubmit={send} className="dialog-form" noValidate>
        <div className="dialog-body">
          {props.children}
          <ErrorNote error={props.error} />
        </div>
        <footer className="dialog-foot">
          <Button onClick={props.onClose}>{t('common.cancel')}</Button>
          <Button
            type="submit"
            look={props.danger ? 'danger' : 'primary'}
            busy={props.busy ?? false}
            disabled={props.disabled ?? false}
          >
            {props.submit}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
