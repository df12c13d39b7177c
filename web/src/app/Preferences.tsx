/** The switches of language and of light and dark. */

import type { ReactNode } from 'react';
import type { Language } from '../i18n';
import { useLanguage, useT } from '../i18n';
import { Menu } from '../ui';
import type { Theme } from './theme';
import { useTheme } from './theme';

const languages: [Language, string][] = [
  ['en', 'English'],
  ['zh', '中文'],
];
const themes: [Theme, 'monitor' | 'sun' | 'moon'][] = [
  ['system', 'monitor'],
  ['light', 'sun'],
  ['dark', 'moon'],
];

/** Both switches, side by side. */
export function Preferences(props: { up?: boolean }): ReactNode {
  const t = useT();
  const [language, setLanguage] = useLanguage();
  const [theme, setTheme] = useTheme();
  const place = props.up ? { up: true } : {};
  return (
    <div className="preferences">
      <Menu
        {...place}
        start
        icon="globe"
        label={t('app.language')}
        items={languages.map(([id, label]) => ({ label, checked: id === language, onSelect: () => setLanguage(id) }))}
      />
      <Menu
        {...place}
        start
        icon={theme === 'dark' ? 'moon' : theme === 'light' ? 'sun' : 'monitor'}
        label={t('app.theme')}
        items={themes.map(([id, icon]) => ({
          label: t(`app.theme.${id}`),
          icon,
          checked: id === theme,
          onSelect: () => setTheme(id),
        }))}
      />
    </div>
  );
}
