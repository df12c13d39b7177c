/** Long lists of which only what is seen is drawn. */

import { useVirtualizer } from '@tanstack/react-virtual';
import type { ReactNode } from 'react';
import { useRef } from 'react';

/** A list in a box of its own that scrolls. Rows may have any height; `estimate` is a first guess. */
export function VirtualList<T>(props: {
  label: string;
  items: readonly T[];
  itemKey: (item: T, at: number) => string | number;
  row: (item: T, at: number) => ReactNode;
  estimate?: number;
  className?: string;
  /** Is called when the end comes into view. */
  onEnd?: () => void;
}): ReactNode {
  const { items } = props;
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: items.length,
    getScrollElement: () => box.current,
    estimateSize: () => props.estimate ?? 32,
    overscan: 12,
    getItemKey: (at) => {
      const item = items[at];
      return item === undefined ? at : props.itemKey(item, at);
    },
    onChange: (instance) => {
      const shown = instance.getVirtualItems();
      if (items.length > 0 && shown[shown.length - 1]?.index === items.length - 1) props.onEnd?.();
    },
  });
  return (
    <div ref={box} className={`virtual ${props.className ?? ''}`} tabIndex={0} role="list" aria-label={props.label}>
      <div className="virtual-space" style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map((seen) => {
          const item = items[seen.index];
          if (item === undefined) return null;
          return (
            <div
              key={seen.key}
              ref={virtual.measureElement}
              data-index={seen.index}
              role="listitem"
              aria-setsize={items.length}
              aria-posinset={seen.index + 1}
              className="virtual-row"
              style={{ transform: `translateY(${seen.start}px)` }}
            >
              {props.row(item, seen.index)}
            </div>
          );
        })}
      </div>
    </div>
  );
}
