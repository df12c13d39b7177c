/** Short texts that are made of longer ones, and what files are told as. */

import { describe, expect, it } from 'vitest';
import { titleOf } from '../session/options';
import { mediaTypeOf } from './attachments';
import { editsOf } from './EditDiff';
import { partsInside, relative, toolLabel, toolSummary } from './toolText';

describe('a tool', () => {
  it('is told in a line', () => {
    expect(toolSummary('Bash', { command: 'cd a\n  ls' }, '/w')).toBe('cd a ⏎ ls');
    expect(toolSummary('Edit', { file_path: '/w/src/a.rs' }, '/w')).toBe('src/a.rs');
    expect(toolSummary('Grep', { pattern: 'x', path: '/w' }, '/w')).toBe('x · .');
    expect(toolSummary('Custom', { count: 3, what: 'that' }, '/w')).toBe('that');
    expect(toolLabel('mcp__git_hub__get__it')).toBe('git_hub · get__it');
    expect(relative('/work/other', '/w')).toBe('/work/other');
  });

  it('has a file inside of the folder, or has not', () => {
    expect(partsInside('/w/src/a.rs', '/w')).toEqual(['src', 'a.rs']);
    expect(partsInside('./src/a.rs:12:3', '/w')).toEqual(['src', 'a.rs']);
    expect(partsInside('/etc/passwd', '/w')).toBeNull();
    expect(partsInside('../x', '/w')).toBeNull();
  });

  it('tells what it edits, if it does', () => {
    expect(editsOf('MultiEdit', { edits: [{ old_string: 'a', new_string: 'b' }] })).toEqual([
      { before: 'a', after: 'b' },
    ]);
    expect(editsOf('Bash', { command: 'x' })).toBeNull();
  });
});

describe('a title', () => {
  it('is the beginning of a prompt', () => {
    expect(titleOf('\n## Tidy up\nmore')).toBe('Tidy up');
    expect(titleOf('x'.repeat(100))).toHaveLength(64);
    expect(titleOf('  ')).toBe('');
  });
});

describe('an attachment', () => {
  it('is text when a browser has no better word for it', () => {
    expect(mediaTypeOf({ type: '' })).toBe('text/plain');
    expect(mediaTypeOf({ type: 'text/html;charset=utf-8' })).toBe('text/html');
    expect(mediaTypeOf({ type: 'application/x-sh' })).toBe('text/plain');
    expect(mediaTypeOf({ type: 'application/zip' })).toBe('application/zip');
    expect(mediaTypeOf({ type: 'image/png' })).toBe('image/png');
  });
});
