/** A button that opens a menu. Arrow keys go through it, Escape closes it and gives the focus back. */

import type { KeyboardEvent, ReactNode } from 'react';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'react';
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
  useLayoutEffect(() => {
    const [shown, opener] = [box.current, button.current];
    if (!open || shown === null || opener === null) return;
    // In the top layer no list that scrolls cuts it off.
    shown.showPopover();
    place(shown, opener, props.up === true, props.start === true);
  }, [open, props.up, props.start]);
  useEffect(() => {
    if (!open) return;
    const all = entries(box.current);
    (all.find((item) => item.ariaChecked === 'true') ?? all[0])?.focus({ preventScroll: true });
    const away = (event: PointerEvent): void => {
      if (event.target instanceof Node && !box.current?.parentElement?.contains(event.target)) setOpen(false);
    };
    const shut = (event: Event): void => {
      if (event.target !== box.current) setOpen(false);
    };
    document.addEventListener('pointerdown', away);
    document.addEventListener('scroll', shut, true);
    window.addEventListener('resize', shut);
    return () => {
      document.removeEventListener('pointerdown', away);
      document.removeEventListener('scroll', shut, true);
      window.removeEventListener('resize', shut);
    };
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
        <div
          ref={box}
          id={id}
          popover="manual"
          className="menu"
          role="menu"
          aria-label={props.label}
          onKeyDown={onKeyDown}
        >
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
              ...(item.checked === undefined
                ? { role: 'menuitem' }
                : { role: 'menuitemradio', 'aria-checked': item.checked }),
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

const GAP = 4;

/** Puts a menu beside its button, on the side where there is room. */
function place(menu: HTMLElement, button: HTMLElement, up: boolean, start: boolean): void {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const fitsAbove = at.top - GAP - height >= 0;
  const fitsBelow = at.bottom + GAP + height <= window.innerHeight;
  const above = up ? fitsAbove || !fitsBelow : fitsAbove && !fitsBelow;
  const left = start ? at.left : at.right - width;
  menu.style.top = `${Math.max(GAP, above ? at.top - GAP - height : at.bottom + GAP)}px`;
  menu.style.left = `${Math.max(GAP, Math.min(left, window.innerWidth - width - GAP))}px`;
}
