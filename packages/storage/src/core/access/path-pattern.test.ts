import { describe, expect, it } from 'vitest';
import { parsePattern } from './path-pattern.ts';

const segments = (path: string) => path.split('/').filter((name) => name !== '');

describe('paths of policies', () => {
  it.each([
    ['/**', '/', true],
    ['/**', '/a/b', true],
    ['/', '/', true],
    ['/', '/a', false],
    ['/cms/**', '/cms', true],
    ['/cms/**', '/cms/a/b', true],
    ['/cms/**', '/cmsx', false],
    ['/cms', '/cms/a', false],
    ['/*/raw', '/a/raw', true],
    ['/*/raw', '/a/b/raw', false],
    ['/**/raw/*.root', '/a/b/raw/x.root', true],
    ['/**/raw/*.root', '/raw/x.root', true],
    ['/**/raw/*.root', '/raw/x.rootx', false],
    ['/run?', '/run1', true],
    ['/run?', '/run12', false],
    ['/a.b', '/axb', false],
    ['/a+(b)', '/a+(b)', true],
  ])('%s and %s: %s', (pattern, path, expected) => {
    expect(parsePattern(pattern).matches(segments(path))).toBe(expected);
  });

  it('know what lies on the way to them', () => {
    const { reaches } = parsePattern('/cms/*/raw/**');
    expect(
      ['/', '/cms', '/cms/x', '/cms/x/raw', '/cms/x/raw/y'].map((path) => reaches(segments(path))),
    ).toEqual([true, true, true, true, true]);
    expect(['/atlas', '/cms/x/other'].map((path) => reaches(segments(path)))).toEqual([false, false]);
  });

  it('answer at once, whatever is asked', () => {
    const long = segments('/a'.repeat(500));
    expect(parsePattern(`${'/**/a'.repeat(50)}/b`).matches(long)).toBe(false);
  });
});
