import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allowsPath } from './allows-path.ts';
import { normaliseRequestPath, parsePathScope, scopeWithin } from './path-scope.ts';
import type { PathScope, StorageOperation } from './types.ts';

const OPERATIONS: readonly StorageOperation[] = [
  'read-data',
  'stat',
  'list',
  'create',
  'make-collection',
  'overwrite',
  'delete',
  'stage',
  'poll',
];
const NAMES = ['storage.read', 'storage.create', 'storage.modify', 'storage.stage', 'storage.poll'];

function scope(text: string): PathScope {
  const parsed = parsePathScope(text);
  if (parsed === undefined) throw new Error(`${text} is no path scope`);
  return parsed;
}

const may = (granted: string, operation: StorageOperation, path: string) =>
  allowsPath(granted.split(' ').map(scope), operation, normaliseRequestPath(path));

/** Few different names, so that generated paths often share a beginning; some that need encoding. */
const segment = fc.constantFrom(
  'a',
  'b',
  'ab',
  'a b',
  'ä',
  '%',
  '100%',
  'a+b',
  '...',
  '.a',
  '日本',
  "it's",
  'a:b',
);
const segments = fc.array(segment, { maxLength: 4 });
const encode = (names: readonly string[]) => `/${names.map(encodeURIComponent).join('/')}`;

describe('path scopes, compared with another way to compute them', () => {
  it('open what lies at or below their path, whole segments only', () => {
    fc.assert(
      fc.property(segments, segments, (granted, asked) => {
        const expected = `/${asked.join('/')}/`
          .replace(/^\/\/$/, '/')
          .startsWith(`/${granted.join('/')}/`.replace(/^\/\/$/, '/'));
        expect(may(`storage.read:${encode(granted)}`, 'read-data', encode(asked))).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('within means: allows nothing that the wider scope does not allow', () => {
    const anyScope = fc
      .tuple(fc.constantFrom(...NAMES.slice(0, 4)), segments, fc.boolean())
      .map(([name, path, slash]) => `${name}:${encode(path)}${slash && path.length > 0 ? '/' : ''}`);
    fc.assert(
      fc.property(
        anyScope,
        anyScope,
        segments,
        fc.boolean(),
        fc.constantFrom(...OPERATIONS),
        (a, b, path, slash, operation) => {
          fc.pre(scopeWithin(a, b));
          const target = `${encode(path)}${slash ? '/' : ''}`;
          if (may(a, operation, target)) expect(may(b, operation, target)).toBe(true);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it('every scope is within itself', () => {
    fc.assert(
      fc.property(segments, fc.constantFrom(...NAMES), (path, name) =>
        scopeWithin(`${name}:${encode(path)}`, `${name}:${encode(path)}`),
      ),
    );
  });

  it('no text makes the parsers fail in another way than by a named error', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[/.%25eEfFcC\\0]*$/));
    fc.assert(
      fc.property(text, (path) => {
        for (const parse of [
          () => normaliseRequestPath(`/${path}`),
          () => parsePathScope(`storage.read:/${path}`),
        ]) {
          try {
            parse();
          } catch (error) {
            expect(error).toMatchObject({ kind: 'invalid' });
          }
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('paths of requests', () => {
  it.each([
    ['/', [], true],
    ['//', [], true],
    ['/data', ['data'], false],
    ['/data/', ['data'], true],
    ['//data///2010//', ['data', '2010'], true],
    ['/a%20b', ['a b'], false],
    ['/a+b', ['a+b'], false],
    ['/a\\b', ['a\\b'], false],
    ['/a%5Cb', ['a\\b'], false],
    ['/%E6%97%A5', ['日'], false],
    ['/...', ['...'], false],
    ['/.hidden', ['.hidden'], false],
    ['/100%25', ['100%'], false],
  ])('%s is understood', (path, expected, directory) => {
    expect(normaliseRequestPath(path)).toEqual({ segments: expected, directory });
  });

  it.each([
    '',
    'data',
    'data/../x',
    '/.',
    '/..',
    '/a/../b',
    '/a/./b',
    '/a/..',
    '/%2e',
    '/%2e%2e',
    '/%2E%2e/x',
    '/.%2e',
    '/%2e./x',
    '/a%2fb',
    '/a%2Fb',
    '/%252e%252e',
    '/%252e',
    '/.%252e',
    '/a%252fb',
    '/a%00b',
    '/a%0ab',
    '/a%7fb',
    '/a%C2%85b',
    '/a\u0000b',
    '/%',
    '/a%2',
    '/a%zz',
    '/%ff',
    '/%c0%af',
    '/%ed%a0%80',
    '/\ud800',
  ])('%j is refused', (path) => {
    expect(() => normaliseRequestPath(path)).toThrow(/not acceptable/);
  });
});

describe('scopes', () => {
  it.each([
    'openid',
    'storage',
    'storage.readx:/a',
    'compute.read',
    'wlcg.groups:/a',
    'read:/a',
    'constructor:/a',
    '__proto__:/a',
    'storage.write:/',
  ])('%s is no path scope', (text) => {
    expect(parsePathScope(text)).toBeUndefined();
  });

  it.each([
    'storage.read',
    'storage.read:',
    'storage.read:a',
    'storage.read://',
    'storage.read:/a//b',
    'storage.read:/a//',
    'storage.read:/../a',
    'storage.read:/a/%2e%2e',
    'storage.read:/%252e%252e/a',
    'storage.read:/a%2fb',
    'storage.read:/a\\b',
    'storage.read:/a%5cb',
    'storage.read:/%00',
  ])('%s is refused', (text) => {
    expect(() => parsePathScope(text)).toThrow(/not acceptable/);
  });

  it('mean bytes, not looks: case and Unicode forms differ', () => {
    expect(may('storage.read:/Data', 'read-data', '/data/x')).toBe(false);
    expect(may('storage.read:/caf%C3%A9', 'read-data', '/cafe%CC%81/x')).toBe(false);
    expect(may('storage.read:/caf%C3%A9', 'read-data', '/café/x')).toBe(true);
  });
});

describe('what a scope allows', () => {
  const table: [string, readonly StorageOperation[]][] = [
    ['storage.read:/d', ['read-data', 'stat', 'list']],
    ['storage.create:/d', ['stat', 'create', 'make-collection']],
    ['storage.modify:/d', ['stat', 'create', 'make-collection', 'overwrite', 'delete']],
    ['storage.stage:/d', ['stat', 'stage', 'poll']],
    ['storage.poll:/d', ['poll']],
  ];

  it.each(table)('%s', (granted, allowed) => {
    expect(OPERATIONS.filter((operation) => may(granted, operation, '/d/file'))).toEqual(allowed);
    expect(OPERATIONS.filter((operation) => may(granted, operation, '/data/file'))).toEqual([]);
  });

  it('a missing folder above the path may be made by whoever may write below it', () => {
    expect(may('storage.create:/a/b', 'make-collection', '/a')).toBe(true);
    expect(may('storage.create:/a/b', 'create', '/a')).toBe(false);
    expect(may('storage.read:/a/b', 'make-collection', '/a')).toBe(false);
    expect(may('storage.create:/a/b', 'make-collection', '/c')).toBe(false);
  });

  it('a path with a trailing slash does not open a file of that name', () => {
    expect(may('storage.read:/a/', 'read-data', '/a')).toBe(false);
    expect(may('storage.read:/a/', 'list', '/a')).toBe(true);
    expect(may('storage.read:/a/', 'read-data', '/a/b')).toBe(true);
    expect(may('storage.modify:/a/', 'delete', '/a/')).toBe(true);
    expect(may('storage.modify:/a/', 'delete', '/a')).toBe(false);
  });

  it('several scopes add up', () => {
    expect(may('storage.read:/in storage.create:/out', 'create', '/out/x')).toBe(true);
    expect(may('storage.read:/in storage.create:/out', 'create', '/in/x')).toBe(false);
  });
});

describe('narrowing', () => {
  it.each([
    ['storage.read:/a/b', 'storage.read:/a', true],
    ['storage.read:/a/b', 'storage.read:/', true],
    ['storage.read:/a', 'storage.read:/a/b', false],
    ['storage.read:/ab', 'storage.read:/a', false],
    ['storage.create:/a/b', 'storage.modify:/a', true],
    ['storage.modify:/a', 'storage.create:/a', false],
    ['storage.read:/a', 'storage.modify:/a', false],
    ['storage.read:/a', 'storage.read:/a/', false],
    ['storage.read:/a/', 'storage.read:/a', true],
    ['storage.read:/a/../b', 'storage.read:/a', false],
    ['storage.read:/%61/b', 'storage.read:/a', true],
    ['openid', 'openid', true],
    ['fts:submit-transfer', 'fts', false],
    ['wlcg.groups:/a/b', 'wlcg.groups:/a', false],
  ])('%s within %s: %s', (a, b, expected) => {
    expect(scopeWithin(a, b)).toBe(expected);
  });
});
