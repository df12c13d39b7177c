/** Bars over days, stacked. It is decoration for the table below it, which says the same. */

import type { ReactNode } from 'react';
import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

/** What is stacked: a name, a custom property's colour, and a value for each day. */
export interface Series {
  label: string;
  color: string;
  values: readonly number[];
}

const HEIGHT_PX = 220;

/** The chart. Its days are at equal distances. */
export function Chart(props: {
  label: string;
  days: readonly string[];
  series: readonly Series[];
  format: (value: number) => string;
  formatDay: (day: string) => string;
}): ReactNode {
  const box = useRef<HTMLDivElement>(null);
  const scheme = useScheme();
  const { label, days, series, format, formatDay } = props;
  useEffect(() => {
    const element = box.current;
    if (element === null || days.length === 0) return;
    const style = getComputedStyle(element);
    const resolve = (color: string): string => resolved(element, color);
    const ink = resolve('var(--ink-3)');
    const line = resolve('var(--line)');
    const font = `11px ${style.fontFamily}`;
    // Each on top of those before it, so the last is drawn first.
    const sums = days.map(() => 0);
    const stacked = series.map((one) => {
      for (const [at, value] of one.values.entries()) sums[at] = (sums[at] ?? 0) + value;
      return { ...one, tops: [...sums] };
    });
    const drawn = [...stacked].reverse();
    const bars = uPlot.paths.bars?.({ size: [0.7, 48], radius: 0.15 });
    const at = (value: number): number => Math.round(value);
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT_PX,
        padding: [12, 8, 0, 0],
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        legend: { show: false },
        scales: {
          x: { time: false, range: [-0.6, days.length - 0.4] },
          y: { range: (_, __, most) => [0, most > 0 ? most * 1.08 : 1] },
        },
        axes: [
          {
            stroke: ink,
            font,
            grid: { show: false },
            ticks: { show: false },
            size: 28,
            space: 64,
            incrs: [1, 2, 5, 7, 14, 30, 60, 90],
            values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) && days[tick] !== undefined ? formatDay(days[tick]) : '')),
          },
          {
            stroke: ink,
            font,
            size: 64,
            grid: { stroke: line, width: 1 },
            ticks: { show: false },
            values: (_, ticks) => ticks.map(format),
          },
        ],
        series: [
          {},
          ...drawn.map((one) => ({
            label: one.label,
            stroke: resolve(one.color),
            fill: resolve(one.color),
            width: 0,
            points: { show: false },
            ...(bars ? { paths: bars } : {}),
          })),
        ],
        hooks: {
          setCursor: [
            (shown) => {
              const index = shown.cursor.idx;
              const day = index == null ? undefined : days[at(index)];
              element.dataset.tip =
                index == null || day === undefined
                  ? ''
                  : [formatDay(day), ...series.map((one) => `${one.label}: ${format(one.values[at(index)] ?? 0)}`)].join(' · ');
            },
          ],
        },
      },
      [days.map((_, index) => index), ...drawn.map((one) => one.tops)],
      element,
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [days, series, format, formatDay, scheme]);
  return (
    <figure className="chart">
      <figcaption>
        {label}
        <span className="chart-legend" aria-hidden="true">
          {series.length > 1 &&
            series.map((one) => (
              <span key={one.label}>
                <span className="chart-key" style={{ background: one.color }} /> {one.label}
              </span>
            ))}
        </span>
      </figcaption>
      <div ref={box} className="chart-box" aria-hidden="true" />
    </figure>
  );
}

/** A colour as the canvas needs it: worked out, not named. */
function resolved(element: HTMLElement, color: string): string {
  const probe = document.createElement('span');
  probe.style.color = color;
  element.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Changes when light becomes dark, for a canvas has to be drawn anew then. */
function useScheme(): string {
  const [scheme, setScheme] = useState('');
  useEffect(() => {
    const read = (): void => {
      const chosen = document.documentElement.dataset.theme;
      setScheme(chosen ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'));
    };
    read();
    const media = matchMedia('(prefers-color-scheme: dark)');
    media.addEventListener('change', read);
    const observer = new MutationObserver(read);
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    return () => {
      media.removeEventListener('change', read);
      observer.disconnect();
    };
  }, []);
  return scheme;
}
