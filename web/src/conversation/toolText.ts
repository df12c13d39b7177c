/** What a tool's call is about, in a line. */

import type { JsonObject } from '../api/types';
import type { IconName } from '../ui';

const icons: Record<string, IconName> = {
  Bash: 'terminal',
  BashOutput: 'terminal',
  KillShell: 'stop',
  Read: 'eye',
  Write: 'file',
  Edit: 'edit',
  MultiEdit: 'edit',
  NotebookEdit: 'edit',
  Glob: 'search',
  Grep: 'search',
  LS: 'folder',
  WebFetch: 'globe',
  WebSearch: 'globe',
  Task: 'robot',
  Agent: 'robot',
  TodoWrite: 'list',
  ToolSearch: 'search',
  AskUserQuestion: 'question',
  ExitPlanMode: 'list',
};

/** A tool's picture. */
export function toolIcon(name: string): IconName {
  return icons[name] ?? 'tool';
}

/** A tool's name as people read it: `mcp__github__search` is `github · search`. */
export function toolLabel(name: string): string {
  const [, server, tool] = /^mcp__(.+?)__(.+)$/.exec(name) ?? [];
  return server !== undefined && tool !== undefined ? `${server} · ${tool}` : name;
}

/** Whether it is a sub-agent. */
export function isAgent(name: string): boolean {
  return name === 'Task' || name === 'Agent';
}

/** The most telling part of what it is called with. */
export function toolSummary(name: string, input: JsonObject, cwd: string): string {
  const text = (key: string): string => (typeof input[key] === 'string' ? input[key] : '');
  switch (name) {
    case 'Bash':
      return oneLine(text('command'));
    case 'Read':
    case 'Write':
    case 'Edit':
    case 'MultiEdit':
    case 'LS':
      return relative(text('file_path') || text('path'), cwd);
    case 'NotebookEdit':
      return relative(text('notebook_path'), cwd);
    case 'Glob':
    case 'Grep':
      return [text('pattern'), relative(text('path'), cwd)].filter(Boolean).join(' · ');
    case 'WebFetch':
      return text('url');
    case 'WebSearch':
    case 'ToolSearch':
      return text('query');
    case 'Task':
    case 'Agent':
      return text('description');
    case 'AskUserQuestion':
      return Array.isArray(input.questions)
        ? String((input.questions[0] as JsonObject | undefined)?.question ?? '')
        : '';
    case 'TodoWrite':
    case 'ExitPlanMode':
      return '';
    default: {
      const first = Object.values(input).find((value) => typeof value === 'string' && value !== '');
      return typeof first === 'string' ? oneLine(first) : '';
    }
  }
}

/** A path as seen from the session's folder. */
export function relative(path: string, cwd: string): string {
  if (path === cwd) return '.';
  return path.startsWith(`${cwd}/`) ? path.slice(cwd.length + 1) : path;
}

function oneLine(text: string): string {
  return text
    .trim()
    .replace(/\s*\n\s*/g, ' ⏎ ')
    .slice(0, 300);
}

/** The parts of a path inside of the session's folder; null when it is not in it. `a/b.rs:12` is a line of a file. */
export function partsInside(path: string, cwd: string): string[] | null {
  const within = relative(path, cwd)
    .replace(/^\.\//, '')
    .replace(/(?::\d+)+$/, '');
  const parts = within.split('/');
  return within === '' || within.startsWith('/') || parts.includes('..') || parts.includes('') ? null : parts;
}
