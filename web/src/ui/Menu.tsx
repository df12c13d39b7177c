/** A button that opens a menu. Arrow keys go through it, Escape closes it and gives the focus back. */

import type { KeyboardEvent, ReactNode } from 'react';
import { useEffect, useId, useRef, useState } from 'react';
import type { Look } from './Button';
import { Button } from './Button';
import type { IconName } from './Icon';
import { Icon } from './Icon';

/** An entry of a menu: something to do, or somewhere to go. */
export interface MenuItem {
  label: string;
  icon?: IconName;
  onSelect?: () => void;
  /** A path of the console. */
  to?: string;
  /** Another address. */
  href?: string;
  danger?: boolean;
  disabled?: boolean;
  /** Whether it is what is chosen of several. */
  checked?: boolean;
}

/** A menu behind a button. Falsy items are left out; `'-'` is a line. */
export function Menu(props: {
  label: string;
  items: (MenuItem | '-' | false | null | undefined)[];
  icon?: IconName;
  look?: Look;
  small?: boolean;
  up?: boolean;
  start?: boolean;
  children?: ReactNode;
}): ReactNode {
  const [open, setOpen] = useState(false);
  const id = useId();
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    entries(box.current)[0]?.focus();
    const away = (event: PointerEvent): void => {
      if (event.target instanceof Node && !box.current?.parentElement?.contains(event.target)) setOpen(false);
    };
    document.addEventListener('pointerdown', away);
    return () => document.removeEventListener('pointerdown', away);
  }, [open]);
  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const all = entries(box.current);
    const at = all.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === 'Tab') setOpen(false);
    else if (next !== undefined) {
      event.preventDefault();
      all[(next + all.length) % all.length]?.focus();
    }
  };
  const place = `menu${props.up ? ' menu-up' : ''}${props.start ? ' menu-start' : ''}`;
  return (
    <div className="menu-anchor">
      <Button
        ref={button}
        look={props.look ?? 'quiet'}
        small={props.small ?? false}
        icon={props.icon ?? 'more'}
        aria-label={props.children === undefined ? props.label : undefined}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
        onKeyDown={(event) => {
          if (event.key === 'ArrowDown' && !open) {
            event.preventDefault();
            setOpen(true);
          }
        }}
      >
        {props.children !== undefined && (
          <>
            <span className="sr-only">{props.label}: </span>
            {props.children}
          </>
        )}
      </Button>
      {open && (
        <div ref={box} id={id} className={place} role="menu" aria-label={props.label} onKeyDown={onKeyDown}>
          {props.items.map((item, at) => {
            if (!item) return null;
            if (item === '-') return <div key={at} className="menu-line" role="separator" />;
            const inside = (
              <>
                {item.icon ? <Icon name={item.icon} size={16} /> : <span className="menu-gap" />}
                <span>{item.label}</span>
                {item.checked && <Icon name="check" size={15} className="menu-check" />}
              </>
            );
            const shared = {
              className: item.danger ? 'menu-item menu-item-danger' : 'menu-item',
              tabIndex: -1,
              ...(item.checked === undefined ? { role: 'menuitem' } : { role: 'menuitemradio', 'aria-checked': item.checked }),
            };
            if (item.to !== undefined || item.href !== undefined) {
              return (
                <a
                  key={at}
                  {...shared}
                  href={item.to === undefined ? item.href : `#${item.to}`}
                  {...(item.href ? { target: '_blank', rel: 'noopener noreferrer' } : {})}
                  onClick={() => setOpen(false)}
                >
                  {inside}
                </a>
              );
            }
            return (
              <button
                key={at}
                {...shared}
                type="button"
                disabled={item.disabled}
                onClick={() => {
                  close();
                  item.onSelect?.();
                }}
              >
                {inside}
              </button>
            );
          })}
        </div>
      )}
    </div>
  );
}

function entries(box: HTMLElement | null): HTMLElement[] {
  return [...(box?.querySelectorAll<HTMLElement>('[role^="menuitem"]:not(:disabled)') ?? [])];
}
