/** What changed in the workspace: by git where it is a repository, and turn by turn where checkpoints are kept. */

import type { ReactNode } from 'react';
import { useState } from 'react';
import { PaddockError, sessionPath } from '../../api/api';
import { useApi, useHas, useLoad } from '../../api/context';
import type { DiffView as Diff, Page } from '../../api/types';
import { Link, href } from '../../app/router';
import type { Key } from '../../i18n';
import { useFormat, useT } from '../../i18n';
import { useSession } from '../../session/SessionContext';
import { Badge, Button, CopyButton, EmptyState, ErrorNote, Loading, Select, Table, Tabs } from '../../ui';
import { DiffView } from './DiffView';

type Change = 'added' | 'modified' | 'deleted' | 'renamed' | 'copied' | 'type_changed' | 'unmerged' | 'untracked' | null;

interface StatusEntry {
  path: string;
  old_path?: string | null;
  index: Change;
  worktree: Change;
}

interface StatusView {
  branch: string | null;
  head: string | null;
  upstream?: string | null;
  ahead: number;
  behind: number;
  data: StatusEntry[];
  truncated: boolean;
}

interface CommitView {
  commit: string;
  parents: string[];
  author_name: string;
  author_email: string;
  authored_at: string;
  subject: string;
  body: string;
}

interface CheckpointView {
  turn_id: string;
  moment: 'before' | 'after';
  created_at: string;
  files: number;
  bytes: number;
}

type Part = 'worktree' | 'history' | 'turns';

/** The page. */
export default function ChangesPage(): ReactNode {
  const t = useT();
  const git = useHas('get', '/api/v1/sessions/{session_id}/git/status');
  const checkpoints = useHas('get', '/api/v1/sessions/{session_id}/checkpoints');
  const [part, setPart] = useState<Part | null>(null);
  if (git === undefined || checkpoints === undefined) return <Loading />;
  if (!git && !checkpoints) return <EmptyState icon="diff" title={t('changes.absent')} hint={t('view.absentHint')} />;
  const tabs: { id: Part; label: string }[] = [
    ...(git
      ? [
          { id: 'worktree' as const, label: t('changes.worktree') },
          { id: 'history' as const, label: t('changes.history') },
        ]
      : []),
    ...(checkpoints ? [{ id: 'turns' as const, label: t('changes.turns') }] : []),
  ];
  const current = part ?? tabs[0]?.id ?? 'turns';
  return (
    <div className="view">
      <Tabs label={t('changes.parts')} tabs={tabs} current={current} onChange={setPart}>
        {current === 'worktree' && <Worktree />}
        {current === 'history' && <History />}
        {current === 'turns' && <Turns />}
      </Tabs>
    </div>
  );
}

function NoRepository(): ReactNode {
  const t = useT();
  return <EmptyState icon="git" title={t('changes.noRepository')} hint={t('changes.noRepositoryHint')} />;
}

function isNoRepository(error: unknown): boolean {
  return error instanceof PaddockError && error.code === 'not_a_repository';
}

function Worktree(): ReactNode {
  const t = useT();
  const api = useApi();
  const { session } = useSession();
  const [staged, setStaged] = useState('false');
  const id = session.session_id;
  const status = useLoad((signal) => api.get<StatusView>(sessionPath(id, 'git', 'status'), undefined, signal), [api, id]);
  const diff = useLoad(
    (signal) => api.get<Diff>(sessionPath(id, 'git', 'diff'), { staged: staged === 'true' }, signal),
    [api, id, staged],
  );
  if (isNoRepository(status.error)) return <NoRepository />;
  if (status.error) return <ErrorNote error={status.error} onRetry={status.reload} />;
  if (status.data === undefined) return <Loading />;
  const { data: entries, branch, head, upstream, ahead, behind, truncated } = status.data;
  const reload = (): void => {
    status.reload();
    diff.reload();
  };
  return (
    <>
      <div className="view-head">
        <p className="git-head">
          <Badge icon="git">{branch ?? t('changes.detached')}</Badge>
          {head && <code>{head.slice(0, 10)}</code>}
          {upstream && <span className="muted">{t('changes.upstream', { upstream, ahead, behind })}</span>}
        </p>
        <div className="view-actions">
          <Button small look="quiet" icon="refresh" busy={status.loading && diff.loading} onClick={reload}>
            {t('common.reload')}
          </Button>
        </div>
      </div>
      {entries.length === 0 ? (
        <EmptyState icon="check" title={t('changes.clean')} />
      ) : (
        <>
          <Table
            caption={t('changes.status')}
            rows={entries}
            rowKey={(entry) => entry.path}
            columns={[
              { key: 'path', head: t('changes.path'), cell: (entry) => <FileLink session={id} entry={entry} /> },
              { key: 'index', head: t('changes.index'), cell: (entry) => <ChangeBadge change={entry.index} /> },
              { key: 'worktree', head: t('changes.inWorktree'), cell: (entry) => <ChangeBadge change={entry.worktree} /> },
            ]}
          />
          {truncated && <p className="note-line">{t('changes.truncated')}</p>}
          <div className="view-head">
            <h3>{t('changes.diff')}</h3>
            <Select
              label={t('changes.what')}
              hideLabel
              value={staged}
              onChange={(event) => setStaged(event.target.value)}
              options={[
                { value: 'false', label: t('changes.unstaged') },
                { value: 'true', label: t('changes.staged') },
              ]}
            />
          </div>
          {diff.error !== undefined && <ErrorNote error={diff.error} onRetry={diff.reload} />}
          {diff.data ? <DiffView diff={diff.data} label={t('changes.diff')} /> : diff.loading && <Loading />}
        </>
      )}
    </>
  );
}

function FileLink(props: { session: string; entry: StatusEntry }): ReactNode {
  const { path, old_path: before } = props.entry;
  return (
    <>
      {before && <span className="muted">{before} → </span>}
      <Link to={href('sessions', props.session, 'files', ...path.split('/'))}>{path}</Link>
    </>
  );
}

function ChangeBadge(props: { change: Change }): ReactNode {
  const t = useT();
  if (props.change === null) return <span className="muted">–</span>;
  const tone = { added: 'good', untracked: 'good', deleted: 'bad', unmerged: 'bad' } as const;
  return <Badge tone={tone[props.change as keyof typeof tone] ?? 'busy'}>{t(`diff.status.${props.change}` as Key)}</Badge>;
}

function History(): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const { session } = useSession();
  const id = session.session_id;
  const [chosen, setChosen] = useState<CommitView | null>(null);
  const [older, setOlder] = useState<CommitView[]>([]);
  const [cursor, setCursor] = useState<string | null | undefined>(undefined);
  const first = useLoad(
    (signal) => api.list<CommitView>(sessionPath(id, 'git', 'log'), { limit: 50 }, signal),
    [api, id],
  );
  if (isNoRepository(first.error)) return <NoRepository />;
  if (first.error) return <ErrorNote error={first.error} onRetry={first.reload} />;
  if (first.data === undefined) return <Loading />;
  const commits = [...first.data.data, ...older];
  const next = cursor === undefined ? first.data.next_cursor : cursor;
  const more = async (): Promise<void> => {
    const page = await api.list<CommitView>(sessionPath(id, 'git', 'log'), { limit: 50, cursor: next });
    setOlder([...older, ...page.data]);
    setCursor(page.next_cursor);
  };
  if (chosen !== null) return <Commit commit={chosen} onBack={() => setChosen(null)} />;
  if (commits.length === 0) return <EmptyState icon="git" title={t('changes.noCommits')} />;
  return (
    <>
      <Table
        caption={t('changes.history')}
        rows={commits}
        rowKey={(commit) => commit.commit}
        columns={[
          {
            key: 'subject',
            head: t('changes.commit'),
            cell: (commit) => (
              <button type="button" className="link" onClick={() => setChosen(commit)}>
                {commit.subject || commit.commit.slice(0, 10)}
              </button>
            ),
          },
          { key: 'author', head: t('changes.author'), cell: (commit) => commit.author_name },
          { key: 'at', head: t('changes.at'), cell: (commit) => <time dateTime={commit.authored_at}>{format.dateTime(commit.authored_at)}</time> },
          { key: 'id', head: t('changes.id'), cell: (commit) => <code>{commit.commit.slice(0, 10)}</code> },
        ]}
      />
      {next && (
        <Button small onClick={() => void more()}>
          {t('common.loadMore')}
        </Button>
      )}
    </>
  );
}

function Commit(props: { commit: CommitView; onBack: () => void }): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const { session } = useSession();
  const { commit } = props;
  // What git calls the tree without files: what a first commit is held against.
  const from = commit.parents[0] ?? '4b825dc642cb6eb9a060e54bf8d69288fbee4904';
  const diff = useLoad(
    (signal) => api.get<Diff>(sessionPath(session.session_id, 'git', 'diff'), { from, to: commit.commit }, signal),
    [api, session.session_id, commit.commit],
  );
  return (
    <>
      <div className="view-head">
        <div>
          <h3>{commit.subject}</h3>
          <p className="muted">
            {commit.author_name} · {format.dateTime(commit.authored_at)} · <code>{commit.commit.slice(0, 10)}</code>
            <CopyButton text={commit.commit} />
          </p>
        </div>
        <div className="view-actions">
          <Button small icon="chevronLeft" onClick={props.onBack}>
            {t('changes.toHistory')}
          </Button>
        </div>
      </div>
      {commit.body && <pre className="plain">{commit.body}</pre>}
      {diff.error !== undefined && <ErrorNote error={diff.error} onRetry={diff.reload} />}
      {diff.data ? <DiffView diff={diff.data} label={commit.subject} /> : diff.loading && <Loading />}
    </>
  );
}

function Turns(): ReactNode {
  const t = useT();
  const format = useFormat();
  const api = useApi();
  const { session } = useSession();
  const id = session.session_id;
  const read = useLoad(
    async (signal) => {
      const all: CheckpointView[] = [];
      let cursor: string | null = null;
      // As many as can be looked through.
      do {
        const page: Page<CheckpointView> = await api.list(sessionPath(id, 'checkpoints'), { cursor }, signal);
        all.push(...page.data);
        cursor = page.next_cursor;
      } while (cursor !== null && all.length < 1000);
      return all;
    },
    [api, id],
  );
  if (read.error) return <ErrorNote error={read.error} onRetry={read.reload} />;
  if (read.data === undefined) return <Loading />;
  const turns = read.data.filter((checkpoint) => checkpoint.moment === 'before');
  if (turns.length === 0) return <EmptyState icon="rewind" title={t('changes.noCheckpoints')} hint={t('changes.noCheckpointsHint')} />;
  return (
    <Table
      caption={t('changes.turns')}
      rows={turns}
      rowKey={(checkpoint) => checkpoint.turn_id}
      columns={[
        {
          key: 'turn',
          head: t('changes.turn'),
          cell: (checkpoint) => <Link to={href('sessions', id, 'turns', checkpoint.turn_id, 'diff')}>{format.dateTime(checkpoint.created_at)}</Link>,
        },
        { key: 'id', head: t('changes.id'), cell: (checkpoint) => <code>{checkpoint.turn_id}</code> },
        { key: 'files', head: t('changes.files'), numeric: true, cell: (checkpoint) => format.number(checkpoint.files) },
        { key: 'bytes', head: t('changes.bytes'), numeric: true, cell: (checkpoint) => format.bytes(checkpoint.bytes) },
      ]}
    />
  );
}
