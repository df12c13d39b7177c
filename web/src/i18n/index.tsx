/** Words in the reader's language, and numbers, dates and money as that language writes them. */

import type { ReactNode } from 'react';
import { createContext, useContext, useEffect, useMemo, useState } from 'react';
import { coreEn } from './core.en';
import { coreZh } from './core.zh';
import { viewsEn } from './views.en';
import { viewsZh } from './views.zh';

/** The languages. */
export type Language = 'en' | 'zh';

const en = { ...coreEn, ...viewsEn };

/** What can be said. */
export type Key = keyof typeof en;

const zh: Record<Key, string> = { ...coreZh, ...viewsZh };
const dictionaries: Record<Language, Record<Key, string>> = { en, zh };
const locales: Record<Language, string> = { en: 'en', zh: 'zh-CN' };

/** What `{name}` in a text stands for. A text with `one | many` is chosen by `count`. */
export type Values = Record<string, string | number>;

/** Says something. */
export type Translate = (key: Key, values?: Values) => string;

/** Writes values. */
export interface Format {
  number: (value: number) => string;
  /** `1.2k`. */
  compact: (value: number) => string;
  money: (usd: number) => string;
  bytes: (bytes: number) => string;
  /** Date and time. */
  dateTime: (at: string | Date) => string;
  date: (at: string | Date) => string;
  time: (at: string | Date) => string;
  /** `3 minutes ago`. */
  relative: (at: string | Date) => string;
  /** `1 min 4 s`. */
  duration: (ms: number) => string;
}

interface I18n {
  language: Language;
  setLanguage: (language: Language) => void;
  t: Translate;
  format: Format;
}

const I18nContext = createContext<I18n | null>(null);
const STORED = 'paddock.language';

/** The language that the reader chose, or that the browser asks for. */
function firstLanguage(): Language {
  const stored = readStored();
  if (stored === 'en' || stored === 'zh') return stored;
  return navigator.languages.some((tag) => tag.toLowerCase().startsWith('zh')) &&
    !navigator.languages[0]?.startsWith('en')
    ? 'zh'
    : 'en';
}

function readStored(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/** Gives the language to what is inside. */
export function I18nProvider(props: { children: ReactNode }): ReactNode {
  const [language, setLanguage] = useState(firstLanguage);
  useEffect(() => {
    document.documentElement.lang = locales[language];
  }, [language]);
  const value = useMemo<I18n>(
    () => ({
      language,
      setLanguage: (next) => {
        try {
          localStorage.setItem(STORED, next);
        } catch {
          // It is then forgotten with the page.
        }
        setLanguage(next);
      },
      t: translator(language),
      format: formatter(language),
    }),
    [language],
  );
  return <I18nContext.Provider value={value}>{props.children}</I18nContext.Provider>;
}

function useI18n(): I18n {
  const value = useContext(I18nContext);
  if (value === null) throw new Error('there is no I18nProvider');
  return value;
}

/** `const t = useT(); t('sessions.title')`. */
export function useT(): Translate {
  return useI18n().t;
}

/** `const format = useFormat(); format.money(0.02)`. */
export function useFormat(): Format {
  return useI18n().format;
}

/** The language, and how to change it. */
export function useLanguage(): [Language, (language: Language) => void] {
  const { language, setLanguage } = useI18n();
  return [language, setLanguage];
}

/** What says things in a language. */
export function translator(language: Language): Translate {
  const dictionary = dictionaries[language];
  return (key, values = {}) => {
    const text = dictionary[key];
    const forms = text.split(' | ');
    const chosen = forms.length === 2 && 'count' in values ? (values.count === 1 ? forms[0] : forms[1]) : text;
    return (chosen ?? text).replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  };
}

/** What writes values in a language. */
export function formatter(language: Language): Format {
  const locale = locales[language];
  const number = new Intl.NumberFormat(locale);
  const compact = new Intl.NumberFormat(language === 'zh' ? 'en' : locale, {
    notation: 'compact',
    maximumFractionDigits: 1,
  });
  const cents = new Intl.NumberFormat(locale, { style: 'currency', currency: 'USD' });
  const small = new Intl.NumberFormat(locale, { style: 'currency', currency: 'USD', maximumFractionDigits: 4 });
  const dateTime = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' });
  const date = new Intl.DateTimeFormat(locale, { dateStyle: 'medium' });
  const time = new Intl.DateTimeFormat(locale, { timeStyle: 'short' });
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
  const part = (value: number, unit: string, digits = 0): string =>
    new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'narrow', maximumFractionDigits: digits }).format(
      value,
    );
  return {
    number: (value) => number.format(value),
    compact: (value) => compact.format(value),
    money: (usd) => (usd !== 0 && Math.abs(usd) < 1 ? small : cents).format(usd),
    bytes: (bytes) => {
      const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
      const power = Math.min(units.length - 1, bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3));
      return new Intl.NumberFormat(locale, {
        style: 'unit',
        unit: units[power] ?? 'byte',
        unitDisplay: power === 0 ? 'long' : 'short',
        maximumFractionDigits: power === 0 ? 0 : 1,
      }).format(bytes / 1000 ** power);
    },
    dateTime: (at) => dateTime.format(new Date(at)),
    date: (at) => date.format(new Date(at)),
    time: (at) => time.format(new Date(at)),
    relative: (at) => {
      const seconds = (new Date(at).getTime() - Date.now()) / 1000;
      const size = Math.abs(seconds);
      if (size < 45) return relative.format(0, 'second');
      if (size < 45 * 60) return relative.format(Math.round(seconds / 60), 'minute');
      if (size < 22 * 3600) return relative.format(Math.round(seconds / 3600), 'hour');
      if (size < 26 * 86_400) return relative.format(Math.round(seconds / 86_400), 'day');
      return date.format(new Date(at));
    },
    duration: (ms) => {
      if (ms < 1000) return part(Math.max(0, Math.round(ms)), 'millisecond');
      if (ms < 60_000) return part(ms / 1000, 'second', ms < 10_000 ? 1 : 0);
      const minutes = Math.floor(ms / 60_000);
      const seconds = Math.round((ms % 60_000) / 1000);
      if (minutes < 60)
        return seconds === 0 ? part(minutes, 'minute') : `${part(minutes, 'minute')} ${part(seconds, 'second')}`;
      return `${part(Math.floor(minutes / 60), 'hour')} ${part(minutes % 60, 'minute')}`;
    },
  };
}
