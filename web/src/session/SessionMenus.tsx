/** Switches of a session that is in use: what tools may do without asking, and which model answers. */

import type { ReactNode } from 'react';
import { sessionPath } from '../api/api';
import { useApi } from '../api/context';
import type { SessionView } from '../api/types';
import { useT } from '../i18n';
import { Menu, useToast } from '../ui';
import { modes, useModels } from './options';
import { useSession } from './SessionContext';

function useChange(): (change: object) => Promise<void> {
  const api = useApi();
  const toast = useToast();
  const { session, setSession } = useSession();
  return async (change) => {
    try {
      setSession(await api.patch<SessionView>(sessionPath(session.session_id), change));
    } catch (error) {
      toast.fail(error);
    }
  };
}

/** What tools may do without asking. */
export function ModeMenu(): ReactNode {
  const t = useT();
  const { session } = useSession();
  const change = useChange();
  const now = session.options.permission_mode ?? 'default';
  return (
    <Menu
      up
      start
      small
      icon="shield"
      label={t('session.mode')}
      items={modes.map((mode) => ({
        label: t(`mode.${mode}`),
        checked: mode === now,
        onSelect: () => void change({ permission_mode: mode }),
      }))}
    >
      <span className="menu-value">{t(`mode.${now}`)}</span>
    </Menu>
  );
}

/** Which model answers. */
export function ModelMenu(): ReactNode {
  const t = useT();
  const { session } = useSession();
  const change = useChange();
  const models = useModels();
  const now = session.options.model ?? null;
  const offered = models.some((model) => model.id === 'default') ? [] : [{ id: null, name: t('session.modelDefault') }];
  const all = [...offered, ...models];
  const isNow = (id: string | null): boolean => id === now || (id === 'default' && now === null);
  const name = all.find((model) => isNow(model.id))?.name ?? now ?? t('session.modelDefault');
  return (
    <Menu
      up
      start
      small
      icon="brain"
      label={t('session.model')}
      items={all.map((model) => ({
        label: model.name,
        checked: isNow(model.id),
        onSelect: () => void change({ model: model.id === 'default' ? null : model.id }),
      }))}
    >
      <span className="menu-value">{name}</span>
    </Menu>
  );
}
