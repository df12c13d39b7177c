/** Icons, drawn inline so that nothing is fetched for them. All are 24 by 24, stroked in the text's colour. */

import type { ReactNode } from 'react';

const paths = {
  plus: 'M12 5v14M5 12h14',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM20 20l-4-4',
  close: 'M6 6l12 12M18 6L6 18',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  chevronDown: 'M6 9l6 6 6-6',
  chevronRight: 'M9 6l6 6-6 6',
  chevronLeft: 'M15 6l-6 6 6 6',
  arrowUp: 'M12 19V5M6 11l6-6 6 6',
  arrowDown: 'M12 5v14M6 13l6 6 6-6',
  menu: 'M4 7h16M4 12h16M4 17h16',
  more: 'M5.5 12h.01M12 12h.01M18.5 12h.01',
  chat: 'M5 5h14a1.5 1.5 0 0 1 1.5 1.5v8A1.5 1.5 0 0 1 19 16h-7l-5 4v-4H5a1.5 1.5 0 0 1-1.5-1.5v-8A1.5 1.5 0 0 1 5 5z',
  inbox:
    'M4 13l2.6-7.2A1.5 1.5 0 0 1 8 5h8a1.5 1.5 0 0 1 1.4.8L20 13v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1zM4 13h4.5l1.5 2.5h4l1.5-2.5H20',
  chart: 'M4 20h16M7 16v-5M12 16V6M17 16v-8',
  shield: 'M12 3.5l7 2.5v5c0 4.6-2.8 7.8-7 9.5-4.2-1.7-7-4.9-7-9.5V6z',
  book: 'M5 5.5A2 2 0 0 1 7 4h12v14H7a2 2 0 0 0-2 2zM5 5.5V20M19 18v2.5H7',
  code: 'M9 8l-4 4 4 4M15 8l4 4-4 4',
  globe:
    'M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM3.5 12h17M12 3.5c2.4 2.3 3.6 5.2 3.6 8.5s-1.2 6.2-3.6 8.5c-2.4-2.3-3.6-5.2-3.6-8.5s1.2-6.2 3.6-8.5z',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  monitor: 'M4 5h16v11H4zM9 20h6M12 16v4',
  signOut: 'M14 5H6v14h8M10 12h10M17 9l3 3-3 3',
  stop: 'M7 7h10v10H7z',
  file: 'M6 3.5h8l4 4v13H6zM14 3.5v4h4',
  folder: 'M3.5 6.5A1.5 1.5 0 0 1 5 5h4l2 2.5h8A1.5 1.5 0 0 1 20.5 9v8.5A1.5 1.5 0 0 1 19 19H5a1.5 1.5 0 0 1-1.5-1.5z',
  terminal: 'M5 7l4.5 5L5 17M12 17h7',
  edit: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  eye: 'M2.5 12C5 7.5 8.2 5.5 12 5.5s7 2 9.5 6.5c-2.5 4.5-5.7 6.5-9.5 6.5s-7-2-9.5-6.5zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z',
  tool: 'M14.5 6.5a4 4 0 0 1 5-1l-2.6 2.6 1 2 2 1L22 8.6M14.5 6.5a4 4 0 0 0 .8 4.4L5 20.5 3.5 19l9.6-10.3',
  robot: 'M6 9h12v9H6zM12 5.5V9M12 5.5h.01M9.5 13h.01M14.5 13h.01M3.5 12v3M20.5 12v3',
  list: 'M9 6.5h11M9 12h11M9 17.5h11M4.5 6.5h.01M4.5 12h.01M4.5 17.5h.01',
  brain: 'M12 3.5v3M12 17.5v3M3.5 12h3M17.5 12h3M6 6l2.2 2.2M15.8 15.8L18 18M6 18l2.2-2.2M15.8 8.2L18 6',
  clock: 'M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 7.5V12l3 2',
  alert: 'M12 4l9 16H3zM12 10v4M12 17h.01',
  info: 'M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 11v5M12 8h.01',
  question:
    'M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM9.8 9.5a2.3 2.3 0 1 1 3.3 2.2c-.8.4-1.1.9-1.1 1.8M12 16.5h.01',
  fork: 'M7 4v9M7 13a3 3 0 0 0 3 3h4M17 4v4a5 5 0 0 1-5 5H7M7 20v-4',
  rewind: 'M4 5v5h5M4.6 10A8 8 0 1 1 4 13.5',
  diff: 'M7 5v6M4 8h6M4 18h6M14 8h6M14 15h6M14 18h6',
  paperclip: 'M19 11l-7.5 7.5a4.5 4.5 0 0 1-6.4-6.4L13 4.3a3 3 0 0 1 4.2 4.2l-7.7 7.7a1.5 1.5 0 0 1-2.1-2.1L14 7.5',
  send: 'M12 19V5M6 11l6-6 6 6',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  upload: 'M12 16V5M7 10l5-5 5 5M5 20h14',
  trash: 'M5 7h14M9 7V4.5h6V7M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5',
  refresh: 'M20 5v5h-5M19.4 10A8 8 0 1 0 20 13.5',
  share: 'M12 14V4M8 7.5L12 4l4 3.5M6 11H5v9h14v-9h-1',
  key: 'M15 4a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM11.5 12.5L4 20M7 17l2 2',
  user: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20c.8-3.6 3.6-5.5 7.5-5.5s6.7 1.9 7.5 5.5',
  git: 'M6 4v12M6 16a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM18 4a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM18 8c0 4-3 5-6 5.5S6 15 6 16',
  filter: 'M4 6h16M7 12h10M10 18h4',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 5a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM9 15a2 2 0 1 0 0 4 2 2 0 0 0 0-4z',
} as const;

/** The icons there are. */
export type IconName = keyof typeof paths;

/** An icon. With a label it is an image of that name; without, it is decoration. */
export function Icon(props: { name: IconName; size?: number; label?: string; className?: string }): ReactNode {
  const { name, size = 18, label, className } = props;
  return (
    <svg
      className={className ? `icon ${className}` : 'icon'}
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.8}
      strokeLinecap="round"
      strokeLinejoin="round"
      {...(label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true, focusable: false })}
    >
      <path d={paths[name]} strokeWidth={name === 'more' ? 3 : undefined} />
    </svg>
  );
}
