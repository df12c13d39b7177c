/** Looks for a text in the files. */

import type { ReactNode } from 'react';
import { useEffect, useState } from 'react';
import { sessionPath } from '../../api/api';
import { useApi, useLoad } from '../../api/context';
import { useT } from '../../i18n';
import { Button, Checkbox, EmptyState, ErrorNote, Field, Loading } from '../../ui';
import type { FoundLine } from './files';

/** The field. */
export function FileSearch(props: { query: string; onSearch: (query: string) => void }): ReactNode {
  const t = useT();
  const [text, setText] = useState(props.query);
  useEffect(() => setText(props.query), [props.query]);
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        props.onSearch(text.trim());
      }}
    >
      <Field label={t('files.search')} hideLabel type="search" placeholder={t('files.search')} value={text} onChange={(event) => setText(event.target.value)} />
    </form>
  );
}

/** What was found. */
FileSearch.Results = function Results(props: {
  session: string;
  query: string;
  path: string;
  onOpen: (path: string) => void;
  onClose: () => void;
}): ReactNode {
  const t = useT();
  const api = useApi();
  const { session, query, path } = props;
  const [regex, setRegex] = useState(false);
  const [exact, setExact] = useState(false);
  const found = useLoad(
    (signal) =>
      api.get<{ data: FoundLine[]; truncated: boolean }>(
        sessionPath(session, 'files', 'search'),
        { q: query, path, regex, case_sensitive: exact, limit: 200 },
        signal,
      ),
    [api, session, query, path, regex, exact],
  );
  const files = new Map<string, FoundLine[]>();
  for (const line of found.data?.data ?? []) files.set(line.path, [...(files.get(line.path) ?? []), line]);
  return (
    <div className="found">
      <header className="file-head">
        <div className="file-title">
          <h2>{t('files.foundFor', { query })}</h2>
          <p className="muted" role="status">
            {found.data && t('files.found', { count: found.data.data.length })}
          </p>
        </div>
        <div className="view-actions">
          <Button small icon="close" onClick={props.onClose}>
            {t('common.close')}
          </Button>
        </div>
      </header>
      <div className="row found-options">
        <Checkbox label={t('files.regex')} checked={regex} onChange={(event) => setRegex(event.target.checked)} />
        <Checkbox label={t('files.caseSensitive')} checked={exact} onChange={(event) => setExact(event.target.checked)} />
      </div>
      {found.error != null && <ErrorNote error={found.error} onRetry={found.reload} />}
      {found.loading && found.data === undefined && <Loading />}
      {found.data?.data.length === 0 && <EmptyState icon="search" title={t('files.nothingFound')} />}
      {[...files].map(([file, lines]) => (
        <section key={file} className="found-file" aria-label={file}>
          <h3>
            <button type="button" className="link" onClick={() => props.onOpen(file)}>
              {file}
            </button>
          </h3>
          <ol>
            {lines.map((line) => (
              <li key={`${line.line}:${line.column}`}>
                <button type="button" className="found-line" onClick={() => props.onOpen(file)}>
                  <span className="muted">{line.line}</span>
                  <code>{line.text}</code>
                </button>
              </li>
            ))}
          </ol>
        </section>
      ))}
      {found.data?.truncated && <p className="note-line">{t('files.foundMore')}</p>}
    </div>
  );
};
