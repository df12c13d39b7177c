/** Light or dark: as the system, unless the reader chooses. */

import { useEffect, useState } from 'react';

/** What the reader chose. */
export type Theme = 'system' | 'light' | 'dark';

const STORED = 'paddock.theme';

function firstTheme(): Theme {
  try {
    const stored = localStorage.getItem(STORED);
    return stored === 'light' || stored === 'dark' ? stored : 'system';
  } catch {
    return 'system';
  }
}

/** Puts the choice into force, before anything is drawn. */
export function applyTheme(theme: Theme = firstTheme()): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** The choice, and how to change it. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(firstTheme);
  useEffect(() => {
    applyTheme(theme);
    try {
      localStorage.setItem(STORED, theme);
    } catch {
      // It is then forgotten with the page.
    }
  }, [theme]);
  return [theme, setTheme];
}
