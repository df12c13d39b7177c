/** What is settled of a text that grows. */

import { describe, expect, it } from 'vitest';
import { splitSettled } from './settled';

describe('the settled part of a text', () => {
  it('ends at the last blank line before a paragraph that is complete', () => {
    expect(splitSettled('One.\n\nTwo.\nThr')).toEqual(['One.\n\n', 'Two.\nThr']);
    expect(splitSettled('One.\n\nTwo')).toEqual(['', 'One.\n\nTwo']);
  });

  it('does not cut fences, lists, quotations and tables', () => {
    for (const text of [
      '```\na\n\nb\nc',
      '- one\n\n- two\n- three',
      '> a\n\n> b\n',
      '1. a\n\n2. b\n',
      '- a\n\n  b\nc',
    ]) {
      expect(splitSettled(text)).toEqual(['', text]);
    }
  });

  it('joins to the whole text', () => {
    const text = 'A\n\nB\n\n```js\nx\n\ny\n```\n\nC\n\n- d\n\nE\nF';
    for (let end = 0; end <= text.length; end += 1)
      expect(splitSettled(text.slice(0, end)).join('')).toBe(text.slice(0, end));
  });
});
