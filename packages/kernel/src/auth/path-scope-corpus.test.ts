import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WeftError } from '../errors/index.ts';
import { allowsPath } from './allows-path.ts';
import { normaliseRequestPath, parsePathScope } from './path-scope.ts';

type Outcome = 'allowed' | 'denied' | 'bad scope' | 'bad path';

/** What a storage decides about reading a path with one scope. */
function decide(scopePath: string, requestPath: string): Outcome {
  try {
    const scope = parsePathScope(`storage.read:${scopePath}`);
    if (scope === undefined) return 'bad scope';
    return allowsPath([scope], 'read-data', normaliseRequestPath(requestPath)) ? 'allowed' : 'denied';
  } catch (error) {
    if (!(error instanceof WeftError) || error.kind !== 'invalid') throw error;
    return error.code === 'invalid-scope' ? 'bad scope' : 'bad path';
  }
}

/**
 * The same decision by other means: whole paths instead of segments, bytes instead of decodeURIComponent, the operating
 * system's own idea of `..`, and comparison of text.
 */
function oracle(scopePath: string, requestPath: string): Outcome {
  const scope = plainPath(scopePath);
  if (scope === undefined || scope.includes('\\') || /\/\/|^[^/]/.test(scopePath)) return 'bad scope';
  const request = plainPath(requestPath);
  if (request === undefined) return 'bad path';
  const place = (text: string) => text.replace(/\/$/, '');
  if (place(request) === place(scope))
    return scope.endsWith('/') && scope !== '/' && !request.endsWith('/') ? 'denied' : 'allowed';
  return request.startsWith(`${place(scope)}/`) ? 'allowed' : 'denied';
}

/** The path that a file system would see, or nothing when it could be taken in two ways. */
function plainPath(raw: string): string | undefined {
  if (!raw.startsWith('/') || /%(?![0-9a-f]{2})/i.test(raw)) return undefined;
  const bytes = percentDecode(Buffer.from(raw).toString('latin1'));
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(bytes, 'latin1'));
  } catch {
    return undefined;
  }
  const hidden = [...text].some((character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x20 || (code >= 0x7f && code <= 0x9f);
  });
  if (hidden || slashes(text) !== slashes(raw)) return undefined;
  const single = text.replace(/\/+/g, '/');
  for (const form of [single, percentDecode(single)])
    if (slashes(form) !== slashes(single) || path.posix.normalize(form) !== form) return undefined;
  return single;
}

const slashes = (text: string) => text.split('/').length;
const percentDecode = (text: string) =>
  text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

/** Everything that has fooled somebody, and the innocent things beside it. */
const PIECES = [
  ...[
    '/',
    '/',
    '/',
    '//',
    '/./',
    '/../',
    '.',
    '..',
    '...',
    '%2e',
    '%2E',
    '%2e%2e',
    '.%2e',
    '%252e',
    '%25252e',
  ],
  ...[
    '%2f',
    '%2F',
    '%252f',
    '\\',
    '%5c',
    '%5C',
    '%255c',
    '..\\',
    '%',
    '%2',
    '%zz',
    '%00',
    '%0a',
    '%7f',
    '%C2%85',
  ],
  ...['%c0%af', '%c0%ae', '%e0%80%af', '%ed%a0%80', '%ff', '%F0%9F%98%80', '%u002e', '．', '／', '%EF%BC%8E'],
  ...[
    'data',
    'data',
    'Data',
    'DATA',
    'database',
    'dat',
    'a',
    '%64ata',
    '%61',
    'é',
    'e\u0301',
    '%C3%A9',
    'e%CC%81',
  ],
  ...[
    ' ',
    '%20',
    '+',
    ':',
    ';',
    '~',
    '*',
    '@',
    '%25',
    '%40',
    'ı',
    'İ',
    'ß',
    'ss',
    'ﬁ',
    '\u200b',
    '\ufeff',
    '-',
  ],
];
const rawPath = fc.array(fc.constantFrom(...PIECES), { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`);

describe('what a path scope opens', () => {
  it('is what an independent decision on whole paths says, for any mixture of tricks', () => {
    const seen = new Map<Outcome, number>();
    fc.assert(
      fc.property(rawPath, rawPath, (scope, request) => {
        const outcome = decide(scope, request);
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
        expect(outcome).toBe(oracle(scope, request));
      }),
      { numRuns: RUNS },
    );
    expect([...seen.keys()].sort()).toEqual(['allowed', 'bad path', 'bad scope', 'denied']);
  });

  it('is never anything outside, whatever is appended to a path inside', () => {
    fc.assert(
      fc.property(rawPath, (tail) => {
        const request = `/data${tail.slice(1)}`;
        if (decide('/data', request) !== 'allowed') return;
        const file = plainPath(request) ?? '';
        expect(path.posix.join('/srv', file).replace(/\/$/, '')).toMatch(/^\/srv\/data(\/|$)/);
      }),
      { numRuns: RUNS },
    );
  });
});

/** More by `WEFT_FUZZ_RUNS=1000000 npx vitest run packages/kernel/src/auth/path-scope-corpus.test.ts`. */
const RUNS = Number(process.env.WEFT_FUZZ_RUNS ?? 8000);

const CORPUS: readonly [scope: string, request: string, outcome: Outcome][] = [
  ['/data', '/data', 'allowed'],
  ['/data', '/data/', 'allowed'],
  ['/data', '/data/2010', 'allowed'],
  ['/', '/anything/below', 'allowed'],
  // Beginnings of names are not parents.
  ['/data', '/database', 'denied'],
  ['/data', '/data2/x', 'denied'],
  ['/data', '/dat', 'denied'],
  ['/data/2010', '/data', 'denied'],
  // Dots
  ['/data', '/data/../etc', 'bad path'],
  ['/data', '/data/..', 'bad path'],
  ['/data', '/../data', 'bad path'],
  ['/data', '/data/./x', 'bad path'],
  ['/data', '/data/...', 'allowed'],
  ['/data', '/data/..x', 'allowed'],
  ['/data', '/data/%2e%2e/etc', 'bad path'],
  ['/data', '/data/%2E%2e/etc', 'bad path'],
  ['/data', '/data/.%2e/etc', 'bad path'],
  ['/data', '/data/%252e%252e/etc', 'bad path'],
  ['/data', '/data/%25252e/etc', 'allowed'],
  ['/data', '/data/%c0%ae%c0%ae/etc', 'bad path'],
  ['/data', '/data/%u002e%u002e/etc', 'bad path'],
  ['/data', '/data/．．/etc', 'allowed'],
  ['/data/..', '/data', 'bad scope'],
  ['/data/%2e%2e', '/data', 'bad scope'],
  ['/data/%252e%252e', '/data', 'bad scope'],
  // Slashes
  ['/data', '//data///2010', 'allowed'],
  ['/data', '/data%2f2010', 'bad path'],
  ['/data', '/data/a%2Fb', 'bad path'],
  ['/data', '/data/a%252fb', 'bad path'],
  ['/data', '/data/%2f..%2fetc', 'bad path'],
  ['/data', '/data/%c0%af', 'bad path'],
  ['//data', '/data', 'bad scope'],
  ['/data//', '/data', 'bad scope'],
  ['/a%2fb', '/a/b', 'bad scope'],
  ['data', '/data', 'bad scope'],
  // A slash at the end
  ['/data/', '/data/2010', 'allowed'],
  ['/data/', '/data/', 'allowed'],
  ['/data/', '/data', 'denied'],
  ['/data/', '/database', 'denied'],
  // Backslashes
  ['/data', '/data\\..\\etc', 'denied'],
  ['/data', '/data/..\\etc', 'allowed'],
  ['/data', '/data/%5c..%5cetc', 'allowed'],
  ['/data\\x', '/data/x', 'bad scope'],
  ['/data%5cx', '/data/x', 'bad scope'],
  // Case
  ['/data', '/Data/x', 'denied'],
  ['/DATA', '/data/x', 'denied'],
  ['/%64ata', '/data/x', 'allowed'],
  // Forms of Unicode: composed and decomposed are two names, and so are look-alikes.
  ['/caf%C3%A9', '/café/x', 'allowed'],
  ['/café', '/caf%C3%A9/x', 'allowed'],
  ['/caf%C3%A9', '/cafe%CC%81/x', 'denied'],
  ['/caf\u00e9', '/cafe\u0301/x', 'denied'],
  ['/\ufb01le', '/file', 'denied'],
  ['/i', '/\u0131', 'denied'],
  ['/data', '/d\u0430ta', 'denied'],
  ['/data', '/data\u200b', 'denied'],
  // Control characters and bytes that are no text
  ['/data', '/data/%00', 'bad path'],
  ['/data', '/data/x%0d%0aSet-Cookie:', 'bad path'],
  ['/data', '/data/%7f', 'bad path'],
  ['/data', '/data/%C2%85', 'bad path'],
  ['/data', '/data/%ff', 'bad path'],
  ['/data', '/data/%ed%a0%80', 'bad path'],
  ['/data', '/data/100%', 'bad path'],
  ['/data', '/data/100%25', 'allowed'],
];

it.each(CORPUS)('%s and %s: %s', (scope, request, outcome) => {
  expect(decide(scope, request)).toBe(outcome);
  expect(oracle(scope, request)).toBe(outcome);
});
