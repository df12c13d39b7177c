/** Making a session. What most people need is seen at once; the rest is below a fold. */

import type { ReactNode } from 'react';
import { useEffect, useId, useState } from 'react';
import { PaddockError, sessionPath } from '../../api/api';
import { useApi, useHas, useLoad } from '../../api/context';
import type { CreateSessionRequest, SessionOptions, SessionView, TemplateView } from '../../api/types';
import { useMe } from '../../app/auth';
import { href, navigate } from '../../app/router';
import { useT } from '../../i18n';
import { modes, titleOf, useModels } from '../../session/options';
import { Checkbox, Field, FormDialog, Select, TextArea, useToast } from '../../ui';

interface Form {
  prompt: string;
  user_id: string;
  title: string;
  subdir: string;
  model: string;
  permission_mode: string;
  effort: string;
  allowed_tools: string;
  disallowed_tools: string;
  max_turns: string;
  max_budget_usd: string;
  append_system_prompt: string;
  metadata: string;
  checkpoints: string;
  template: string;
  git_url: string;
  git_ref: string;
  git_username: string;
  git_password: string;
}

const blank: Form = {
  prompt: '',
  user_id: '',
  title: '',
  subdir: '',
  model: '',
  permission_mode: '',
  effort: '',
  allowed_tools: '',
  disallowed_tools: '',
  max_turns: '',
  max_budget_usd: '',
  append_system_prompt: '',
  metadata: '',
  checkpoints: '',
  template: '',
  git_url: '',
  git_ref: '',
  git_username: '',
  git_password: '',
};

/** Who the last session was made for. */
let lastUser = '';

/** The dialog. */
export function NewSession(props: { users: string[]; onClose: () => void }): ReactNode {
  const t = useT();
  const api = useApi();
  const me = useMe();
  const toast = useToast();
  const models = useModels();
  const users = useId();
  const hasCheckpoints = useHas('get', '/api/v1/sessions/{session_id}/checkpoints') === true;
  const hasGit = useHas('get', '/api/v1/sessions/{session_id}/git/status') === true;
  const hasTemplates = useHas('get', '/api/v1/templates') === true;
  const templates =
    useLoad(
      (signal) => (hasTemplates ? api.list<TemplateView>('/api/v1/templates', {}, signal) : Promise.resolve(null)),
      [api, hasTemplates],
    ).data?.data ?? [];
  const [form, setForm] = useState<Form>({ ...blank, user_id: me.user_id ?? (lastUser || props.users[0] || '') });
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [metadataError, setMetadataError] = useState<string | null>(null);
  const bind = (name: keyof Form) => ({
    value: form[name],
    onChange: (event: { target: { value: string } }) => setForm((old) => ({ ...old, [name]: event.target.value })),
    error: fieldError(error, name),
  });

  // What is cloned or copied needs a folder that is new or empty: one is named, until somebody names another.
  const [named, setNamed] = useState('');
  const begin = form.git_url.trim() !== '' ? form.git_url : form.template;
  useEffect(() => {
    const name = folderOf(begin);
    setForm((old) => (old.subdir === named ? { ...old, subdir: name } : old));
    setNamed(name);
    // Only what it begins with counts.
  }, [begin]);

  const submit = async (): Promise<void> => {
    const metadata = metadataOf(form.metadata);
    setMetadataError(metadata === null ? t('new.metadataWrong') : null);
    if (metadata === null) return;
    setBusy(true);
    setError(null);
    try {
      const session = await api.post<SessionView>('/api/v1/sessions', requestOf(form, metadata));
      lastUser = session.user_id;
      if (form.prompt.trim() !== '') {
        // The session is there already; what is wrong with its first prompt is told in it.
        await api.post(sessionPath(session.session_id, 'turns'), { message: form.prompt }).catch(toast.fail);
      }
      props.onClose();
      navigate(href('sessions', session.session_id));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };

  return (
    <FormDialog
      title={t('sessions.new')}
      submit={t('new.submit')}
      wide
      onClose={props.onClose}
      onSubmit={() => void submit()}
      busy={busy}
      disabled={form.user_id.trim() === ''}
      error={error}
    >
      <TextArea label={t('new.prompt')} hint={t('new.promptHint')} optional rows={3} autoFocus {...bind('prompt')} />
      <div className="form-grid">
        {me.user_id === null && (
          <>
            <Field
              label={t('session.user')}
              hint={t('new.userHint')}
              required
              list={users}
              autoComplete="off"
              {...bind('user_id')}
            />
            <datalist id={users}>
              {props.users.map((user) => (
                <option key={user} value={user} />
              ))}
            </datalist>
          </>
        )}
        <Field label={t('session.subdir')} hint={t('new.subdirHint')} optional className="mono" {...bind('subdir')} />
        <Select
          label={t('session.model')}
          options={[
            { value: '', label: t('session.modelDefault') },
            ...models
              .filter((model) => model.id !== 'default')
              .map((model) => ({ value: model.id, label: model.name })),
          ]}
          {...bind('model')}
        />
        <Select
          label={t('session.mode')}
          options={[
            { value: '', label: t('new.asServer') },
            ...modes.map((mode) => ({ value: mode, label: t(`mode.${mode}`) })),
          ]}
          {...bind('permission_mode')}
        />
        {hasTemplates && templates.length > 0 && (
          <Select
            label={t('new.template')}
            options={[
              { value: '', label: t('common.none') },
              ...templates.map((template) => ({
                value: template.name,
                label: template.description ? `${template.name} – ${template.description}` : template.name,
              })),
            ]}
            hint={t('new.emptyFolder')}
            disabled={form.git_url.trim() !== ''}
            {...bind('template')}
          />
        )}
      </div>
      {hasGit && (
        <details className="fold">
          <summary>{t('new.git')}</summary>
          <div className="form-grid">
            <Field
              label={t('new.gitUrl')}
              type="url"
              placeholder="https://github.com/owner/repo.git"
              hint={t('new.emptyFolder')}
              {...bind('git_url')}
            />
            <Field label={t('new.gitRef')} optional {...bind('git_ref')} />
            <Field label={t('new.gitUsername')} optional autoComplete="off" {...bind('git_username')} />
            <Field
              label={t('new.gitPassword')}
              optional
              type="password"
              autoComplete="new-password"
              {...bind('git_password')}
            />
          </div>
        </details>
      )}
      <details className="fold">
        <summary>{t('new.more')}</summary>
        <div className="stack">
          <div className="form-grid">
            <Field label={t('session.titleLabel')} optional {...bind('title')} />
            <Select
              label={t('new.effort')}
              options={[
                { value: '', label: t('new.asServer') },
                ...(['low', 'medium', 'high', 'xhigh', 'max'] as const).map((value) => ({ value, label: value })),
              ]}
              {...bind('effort')}
            />
            <Field
              label={t('new.maxTurns')}
              hint={t('new.maxTurnsHint')}
              optional
              inputMode="numeric"
              {...bind('max_turns')}
            />
            <Field
              label={t('new.maxBudget')}
              hint={t('new.maxBudgetHint')}
              optional
              inputMode="decimal"
              {...bind('max_budget_usd')}
            />
            <Field
              label={t('new.allowedTools')}
              hint={t('new.toolsHint')}
              optional
              className="mono"
              {...bind('allowed_tools')}
            />
            <Field label={t('new.disallowedTools')} optional className="mono" {...bind('disallowed_tools')} />
          </div>
          <TextArea label={t('new.appendPrompt')} optional rows={3} {...bind('append_system_prompt')} />
          <TextArea
            label={t('session.metadata')}
            hint={t('new.metadataHint')}
            optional
            rows={2}
            className="mono"
            {...bind('metadata')}
            error={metadataError}
          />
          {hasCheckpoints && (
            <Checkbox
              label={t('new.checkpoints')}
              hint={t('new.checkpointsHint')}
              checked={form.checkpoints === 'yes'}
              onChange={(event) => setForm((old) => ({ ...old, checkpoints: event.target.checked ? 'yes' : '' }))}
            />
          )}
        </div>
      </details>
    </FormDialog>
  );
}

/** The request that a form is. What is empty is left to the server. */
function requestOf(form: Form, metadata: Record<string, string>): CreateSessionRequest {
  const given = (text: string): string | undefined => (text.trim() === '' ? undefined : text.trim());
  const list = (text: string): string[] | undefined => {
    const names = splitTools(text);
    return names.length > 0 ? names : undefined;
  };
  const number = (text: string): number | undefined =>
    text.trim() === '' ? undefined : Number(text.replace(',', '.'));
  const options: SessionOptions = dropUndefined({
    model: given(form.model),
    permission_mode: given(form.permission_mode) as SessionOptions['permission_mode'],
    effort: given(form.effort) as SessionOptions['effort'],
    allowed_tools: list(form.allowed_tools),
    disallowed_tools: list(form.disallowed_tools),
    max_turns: number(form.max_turns),
    max_budget_usd: number(form.max_budget_usd),
    append_system_prompt: given(form.append_system_prompt),
    checkpoints: form.checkpoints === 'yes' ? true : undefined,
  });
  const credential =
    given(form.git_password) && dropUndefined({ username: given(form.git_username), password: form.git_password });
  return dropUndefined({
    user_id: form.user_id.trim(),
    title: given(form.title) ?? given(titleOf(form.prompt)),
    subdir: given(form.subdir),
    metadata: Object.keys(metadata).length > 0 ? metadata : undefined,
    options: Object.keys(options).length > 0 ? options : undefined,
    template: given(form.git_url) === undefined ? given(form.template) : undefined,
    source:
      given(form.git_url) &&
      dropUndefined({ git_url: form.git_url.trim(), ref: given(form.git_ref), credential: credential || undefined }),
  }) as CreateSessionRequest;
}

/** A folder for what a session begins with: a repository's name, or a template's. */
function folderOf(begin: string): string {
  const name =
    begin
      .trim()
      .replace(/[?#].*$/, '')
      .replace(/\/+$/, '')
      .replace(/\.git$/, '')
      .split('/')
      .pop() ?? '';
  return name
    .replace(/[^\w.-]+/g, '-')
    .replace(/^[.-]+/, '')
    .slice(0, 60);
}

/** Names apart by commas or spaces; a pattern's brackets hold both. */
function splitTools(text: string): string[] {
  return text.match(/[^\s,(]+(?:\([^)]*\))?/g) ?? [];
}

/** `key=value` lines; null when a line is none. */
function metadataOf(text: string): Record<string, string> | null {
  const metadata: Record<string, string> = {};
  for (const line of text.split('\n').filter((one) => one.trim() !== '')) {
    const at = line.indexOf('=');
    if (at <= 0) return null;
    metadata[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return metadata;
}

function dropUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined && part !== '')) as T;
}

function fieldError(error: unknown, name: string): string | null {
  if (!(error instanceof PaddockError)) return null;
  const wrong = error.errors.find(
    (one) => one.field === name || one.field === `options.${name}` || one.field === `source.${name}`,
  );
  return wrong?.message ?? null;
}
