/** A tool's call: what it is about in one line, and its input and output below. */

import type { ReactNode } from 'react';
import { memo, useState } from 'react';
import { useNow } from '../api/context';
import type { JsonObject } from '../api/types';
import { Link } from '../app/router';
import { useFormat, useT } from '../i18n';
import { useSession } from '../session/SessionContext';
import { Badge, Button, Icon, Spinner } from '../ui';
import { useActions } from './actions';
import { BlockView } from './BlockView';
import { EditDiff, editsOf } from './EditDiff';
import { Markdown } from './Markdown';
import type { Block, Tool } from './model';
import { Output } from './Output';
import { PermissionCard } from './PermissionCard';
import type { Inside } from './rows';
import { isAgent, toolIcon, toolLabel, toolSummary } from './toolText';

/** The card. What waits for an answer is open; so is what changes a file. */
export const ToolCard = memo(function ToolCard(props: { tool: Tool; inside: Inside; live: boolean }): ReactNode {
  const t = useT();
  const { session } = useSession();
  const { tool, live } = props;
  const asked = tool.ask !== null && tool.ask.resolution === null && live;
  const { fileLink } = useActions();
  const path = tool.input.file_path ?? tool.input.notebook_path;
  const file = typeof path === 'string' && tool.result !== null ? fileLink?.(path) : null;
  const edits = editsOf(tool.name, tool.input);
  const children = props.inside.get(tool.key) ?? [];
  const [chosen, setChosen] = useState<boolean | null>(null);
  // What is asked about is to be seen.
  const open = chosen ?? (edits !== null || tool.name === 'TodoWrite' || (asked && tool.ask?.request.kind === 'tool'));
  const denied = tool.ask?.resolution?.decision === 'deny';
  const failed = tool.result?.isError === true;
  const summary = toolSummary(tool.name, tool.input, session.cwd);
  return (
    <div role="group" className={failed ? 'tool tool-failed' : 'tool'} aria-label={toolLabel(tool.name)}>
      <button type="button" className="tool-head" aria-expanded={open} onClick={() => setChosen(!open)}>
        <Icon name={open ? 'chevronDown' : 'chevronRight'} size={15} className="tool-arrow" />
        <Icon name={toolIcon(tool.name)} size={16} className="tool-icon" />
        <span className="tool-name">{toolLabel(tool.name)}</span>
        <span className="tool-summary">{summary}</span>
        <ToolState tool={tool} live={live} asked={asked} denied={denied} failed={failed} />
      </button>
      {open && (
        <div className="tool-body">
          {file && (
            <p>
              <Link to={file}>{t('tool.openFile')}</Link>
            </p>
          )}
          {edits !== null ? (
            <EditDiff edits={edits} />
          ) : tool.ask?.request.kind === 'question' ? null : (
            <Input tool={tool} />
          )}
          {tool.result !== null && ((edits === null && tool.name !== 'TodoWrite') || failed) && (
            <Output content={tool.result.content} failed={failed} />
          )}
        </div>
      )}
      {tool.ask !== null &&
        (asked || tool.ask.resolution !== null) &&
        !(tool.ask.request.kind === 'tool' && !asked && !denied) && (
          <PermissionCard
            request={tool.ask.request}
            resolution={tool.ask.resolution}
            over={!live}
            input={tool.input}
            within
          />
        )}
      {children.length > 0 && (
        <Nested
          blocks={children}
          inside={props.inside}
          live={live}
          open={(live && tool.result === null) || tool.task?.status === null}
        />
      )}
      {isAgent(tool.name) && tool.task?.summary && children.length === 0 && (
        <p className="tool-note">{tool.task.summary}</p>
      )}
      {tool.task !== null && tool.task.status === null && tool.result !== null && (
        <p className="tool-note">{t('tool.background')}</p>
      )}
    </div>
  );
});

function ToolState(props: { tool: Tool; live: boolean; asked: boolean; denied: boolean; failed: boolean }): ReactNode {
  const t = useT();
  const format = useFormat();
  const { tool, live } = props;
  if (props.asked)
    return (
      <Badge tone="attention" dot>
        {t('session.state.asking')}
      </Badge>
    );
  if (tool.task !== null && tool.task.endedAt === null && tool.result !== null)
    return <Running since={tool.startedAt} />;
  if (tool.result === null) return live ? <Running since={tool.startedAt} /> : <Badge>{t('tool.noResult')}</Badge>;
  const took = new Date(tool.task?.endedAt ?? tool.result.at).getTime() - new Date(tool.startedAt).getTime();
  return (
    <span className="tool-state">
      {props.denied ? (
        <Badge tone="bad">{t('permission.denied')}</Badge>
      ) : props.failed ? (
        <Badge tone="bad">{t('tool.failed')}</Badge>
      ) : (
        <span className="sr-only">{t('tool.done')}</span>
      )}
      {took > 0 && <span className="tool-time">{format.duration(took)}</span>}
    </span>
  );
}

/** How long it has run, once that is worth telling. */
function Running(props: { since: string }): ReactNode {
  const t = useT();
  const format = useFormat();
  const now = useNow(1000);
  const took = now - new Date(props.since).getTime();
  return (
    <span className="tool-state">
      {took >= 2000 && <span className="tool-time">{format.duration(Math.floor(took / 1000) * 1000)}</span>}
      <Spinner small />
      <span className="sr-only">{t('session.state.busy')}</span>
    </span>
  );
}

function Input(props: { tool: Tool }): ReactNode {
  const t = useT();
  const { name, input } = props.tool;
  if (name === 'Bash' && typeof input.command === 'string') return <pre className="input-code">{input.command}</pre>;
  if (name === 'TodoWrite' && Array.isArray(input.todos)) return <Todos todos={input.todos as JsonObject[]} />;
  if (name === 'ExitPlanMode' && typeof input.plan === 'string') return <Markdown text={input.plan} />;
  if (isAgent(name) && typeof input.prompt === 'string') return <p className="agent-prompt">{input.prompt}</p>;
  const fields = Object.entries(input);
  if (fields.length === 0) return <p className="muted">{t('tool.noInput')}</p>;
  return (
    <dl className="input-fields">
      {fields.map(([key, value]) => (
        <div key={key}>
          <dt>{key}</dt>
          <dd>{typeof value === 'string' ? value : JSON.stringify(value, null, 2)}</dd>
        </div>
      ))}
    </dl>
  );
}

function Todos(props: { todos: JsonObject[] }): ReactNode {
  const t = useT();
  return (
    <ul className="todos">
      {props.todos.map((todo, at) => {
        const status = String(todo.status);
        const done = status === 'completed';
        return (
          <li key={at} className={`todo todo-${status}`}>
            <Icon name={done ? 'check' : status === 'in_progress' ? 'chevronRight' : 'clock'} size={15} />
            <span>{String(todo.content ?? '')}</span>
            {done && <span className="sr-only">({t('tool.done')})</span>}
          </li>
        );
      })}
    </ul>
  );
}

const STEPS = 50;

/** What a sub-agent does; shown while it does it, folded afterwards. Of very many steps the last are shown. */
function Nested(props: { blocks: Block[]; inside: Inside; live: boolean; open: boolean }): ReactNode {
  const t = useT();
  const [chosen, setChosen] = useState<boolean | null>(null);
  const [whole, setWhole] = useState(false);
  const { blocks } = props;
  const open = chosen ?? props.open;
  const shown = whole || blocks.length <= STEPS ? blocks : blocks.slice(-STEPS);
  return (
    <div className="nested">
      <button type="button" className="nested-head" aria-expanded={open} onClick={() => setChosen(!open)}>
        <Icon name={open ? 'chevronDown' : 'chevronRight'} size={14} />
        {t('tool.steps', { count: blocks.length })}
      </button>
      {open && (
        <div className="nested-body">
          {shown.length < blocks.length && (
            <Button look="quiet" small onClick={() => setWhole(true)}>
              {t('common.showAll')}
            </Button>
          )}
          {shown.map((block) => (
            <BlockView key={block.key} block={block} inside={props.inside} live={props.live} />
          ))}
        </div>
      )}
    </div>
  );
}
