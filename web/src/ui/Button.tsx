/** Buttons, and links that look like buttons. */

import type { AnchorHTMLAttributes, ButtonHTMLAttributes, ReactNode, Ref } from 'react';
import type { IconName } from './Icon';
import { Icon } from './Icon';
import { Spinner } from './Status';

/** How loud a button is. */
export type Look = 'primary' | 'plain' | 'quiet' | 'danger';

interface Shared {
  look?: Look;
  small?: boolean;
  icon?: IconName;
  children?: ReactNode;
}

function classes(props: Shared, extra?: string): string {
  const bare = props.children === undefined || props.children === false ? 'button-bare' : '';
  return ['button', `button-${props.look ?? 'plain'}`, props.small ? 'button-small' : '', bare, extra]
    .filter(Boolean)
    .join(' ');
}

/** A button. One with an icon alone needs an `aria-label`, which is also its tooltip. */
export function Button(
  props: Shared & { busy?: boolean; ref?: Ref<HTMLButtonElement> } & ButtonHTMLAttributes<HTMLButtonElement>,
): ReactNode {
  const { look, small, icon, busy, children, className, disabled, ...rest } = props;
  return (
    <button
      type="button"
      title={children === undefined || children === false ? rest['aria-label'] : undefined}
      {...rest}
      className={classes({ look, small, children } as Shared, className)}
      disabled={disabled || busy}
      aria-busy={busy || undefined}
    >
      {busy ? <Spinner small /> : icon && <Icon name={icon} size={small ? 16 : 18} />}
      {children}
    </button>
  );
}

/** A link that looks like a button. */
export function ButtonLink(props: Shared & { to: string } & AnchorHTMLAttributes<HTMLAnchorElement>): ReactNode {
  const { look, small, icon, to, children, className, ...rest } = props;
  return (
    <a
      href={`#${to}`}
      title={children === undefined || children === false ? rest['aria-label'] : undefined}
      {...rest}
      className={classes({ look, small, children } as Shared, className)}
    >
      {icon && <Icon name={icon} size={small ? 16 : 18} />}
      {children}
    </a>
  );
}
