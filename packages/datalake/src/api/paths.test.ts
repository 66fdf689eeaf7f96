import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { comparePatterns, matchDecoded, matchRaw, parsePattern, segmentsOf } from './paths.ts';

const patterns = [
  '/dids/:scope/:name',
  '/dids/:scope/:name/files',
  '/dids/:scope/dids/search',
  '/dids/:scope',
  '/dids/attachments',
]
  .map((text) => ({ text, pattern: parsePattern(text) }))
  .sort((a, b) => comparePatterns(a.pattern, b.pattern));

function route(target: string) {
  const segments = segmentsOf(target, '');
  for (const match of [matchRaw, matchDecoded]) {
    for (const { text, pattern } of patterns) {
      const parameters = match(pattern, segments);
      if (parameters) return { route: text, ...parameters };
    }
  }
  return undefined;
}

describe('paths', () => {
  test.each([
    ['/dids/cms/x', { route: '/dids/:scope/:name', scope: 'cms', name: 'x' }],
    ['/dids/cms/%2FA%2FB%2FC', { route: '/dids/:scope/:name', scope: 'cms', name: '/A/B/C' }],
    ['/dids/cms/%2FA%2FB%2FC/files', { route: '/dids/:scope/:name/files', scope: 'cms', name: '/A/B/C' }],
    ['/dids/cms//A/B/C/files', { route: '/dids/:scope/:name/files', scope: 'cms', name: '/A/B/C' }],
    ['/dids/cms//A/B/C', { route: '/dids/:scope/:name', scope: 'cms', name: '/A/B/C' }],
    ['/dids/cms/A%2Ffiles', { route: '/dids/:scope/:name', scope: 'cms', name: 'A/files' }],
    ['/dids/cms/a+b%2Bc', { route: '/dids/:scope/:name', scope: 'cms', name: 'a b+c' }],
    ['/dids/cms/dids/search?type=all', { route: '/dids/:scope/dids/search', scope: 'cms' }],
    ['/dids/cms/dids%2Fsearch', { route: '/dids/:scope/:name', scope: 'cms', name: 'dids/search' }],
    ['/dids/cms/', { route: '/dids/:scope', scope: 'cms' }],
    ['/dids/attachments', { route: '/dids/attachments' }],
  ])('%s', (target, expected) => {
    expect(route(target)).toEqual(expected);
  });

  test('what the client quotes comes back, whatever the name', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 30 }), (name) => {
        const quoted = encodeURIComponent(name).replaceAll('%20', '+');
        fc.pre(quoted !== 'files');
        expect(route(`/dids/cms/${quoted}/files`)).toEqual({
          route: '/dids/:scope/:name/files',
          scope: 'cms',
          name,
        });
      }),
      { numRuns: 300 },
    );
  });
});
