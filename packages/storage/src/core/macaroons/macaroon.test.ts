import { WeftError } from '@weft/kernel/errors';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ACTIVITIES, findViolation, readCaveats } from './bounds.ts';
import { addCaveat, isSignedWith, type Macaroon, makeMacaroon } from './macaroon.ts';
import { looksLikeMacaroon, parseMacaroon, printMacaroon } from './macaroon-format.ts';

const KEY = Buffer.alloc(32, 7);
const OURS = makeMacaroon(KEY, {
  location: 'https://storage.example',
  identifier: '0123456789ab.7.AAAAAAAAAAAA',
  caveats: ['path:/data', 'activity:DOWNLOAD,LIST', 'before:2030-01-01T00:00:00Z'],
});

/** What libmacaroons' second form looks like, written by hand from its description. */
function printRows({ location, identifier, caveats, signature }: Macaroon): string {
  const row = (type: number, value: string | Buffer) => {
    const bytes = Buffer.from(value);
    const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
    return Buffer.concat([Buffer.from([type, ...length]), bytes]);
  };
  const end = Buffer.from([0]);
  return Buffer.concat([
    Buffer.from([2]),
    row(1, location),
    row(2, identifier),
    end,
    ...caveats.flatMap((caveat) => [row(2, caveat), end]),
    end,
    row(6, signature),
  ]).toString('base64url');
}

describe('a macaroon', () => {
  it('has the signatures that libmacaroons documents', () => {
    const rootKey = Buffer.from('this is our super secret key; only we should know it');
    const made = makeMacaroon(rootKey, {
      location: 'http://mybank/',
      identifier: 'we used our secret key',
      caveats: [],
    });
    expect(made.signature.toString('hex')).toBe(
      'e3d9e02908526c4c0039ae15114115d97fdd68bf2ba379b342aaf0f617d0552f',
    );
    expect(addCaveat(made, 'test = caveat').signature.toString('hex')).toBe(
      '197bac7a044af33332865b9266e26d493bdd668a660e44d88ce1a998c23dbd67',
    );
  });

  it('is read back as it was written, and looks like one', () => {
    const text = printMacaroon(OURS);
    expect(looksLikeMacaroon(text)).toBe(true);
    expect(parseMacaroon(text)).toEqual(OURS);
    expect(parseMacaroon(printRows(OURS))).toEqual(OURS);
    expect(looksLikeMacaroon(printRows(OURS))).toBe(true);
    expect(isSignedWith(parseMacaroon(text), KEY)).toBe(true);
  });

  it.each(['eyJhbGciOiJSUzI1NiJ9.e30.c2ln', '', 'MDA', 'MDA*', 'deadbeef-deadbeef'])('%j is none', (text) => {
    expect(looksLikeMacaroon(text)).toBe(false);
  });

  it('goes on verifying when a holder adds caveats, and not when one takes them away', () => {
    const narrowed = addCaveat(OURS, 'path:/2010');
    expect(isSignedWith(narrowed, KEY)).toBe(true);
    const cut = { ...narrowed, caveats: narrowed.caveats.slice(0, -1) };
    const widened = { ...narrowed, caveats: ['path:/', ...narrowed.caveats.slice(1)] };
    const reordered = { ...narrowed, caveats: narrowed.caveats.toReversed() };
    for (const forged of [cut, widened, reordered]) expect(isSignedWith(forged, KEY)).toBe(false);
    expect(isSignedWith(OURS, Buffer.alloc(32, 8))).toBe(false);
  });

  it('never verifies when a byte of it has changed, and never crashes its reader', () => {
    const forms = [printMacaroon(OURS), printRows(OURS)].map((text) => Buffer.from(text, 'base64url'));
    const changed = fc
      .tuple(fc.constantFrom(...forms), fc.nat(), fc.integer({ min: 1, max: 255 }))
      .map(([bytes, at, difference]) => {
        const copy = Buffer.from(bytes);
        copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ difference;
        return copy;
      });
    const spliced = fc
      .tuple(fc.constantFrom(...forms), fc.nat(), fc.nat(), fc.uint8Array({ maxLength: 40 }))
      .map(([bytes, at, length, inserted]) =>
        Buffer.concat([
          bytes.subarray(0, at % bytes.length),
          inserted,
          bytes.subarray((at % bytes.length) + (length % 50)),
        ]),
      );
    const noise = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(changed, spliced, noise), (bytes) => {
        const parsed = parseOrRefuse(bytes.toString('base64url'));
        if (!parsed || forms.some((form) => form.equals(bytes))) return;
        // The location is a hint, which nothing signs.
        const same =
          JSON.stringify({ ...parsed, location: '' }) === JSON.stringify({ ...OURS, location: '' });
        expect(isSignedWith(parsed, KEY)).toBe(same);
      }),
      { numRuns: 3000 },
    );
  });

  it('is refused when it needs the word of a third party', () => {
    const text = printMacaroon(OURS);
    const bytes = Buffer.from(text, 'base64url');
    const vid = Buffer.from('0014vid 012345678\n'.replace('0014', '0012'));
    const at = bytes.indexOf('cid path');
    const after = bytes.indexOf('\n', at) + 1;
    const third = Buffer.concat([bytes.subarray(0, after), vid, bytes.subarray(after)]);
    expect(() => parseMacaroon(third.toString('base64url'))).toThrow(/third party/);
  });
});

function parseOrRefuse(text: string): Macaroon | undefined {
  try {
    return parseMacaroon(text);
  } catch (error) {
    expect(error).toBeInstanceOf(WeftError);
    expect(error).toMatchObject({ code: 'invalid_token' });
    return undefined;
  }
}

describe('caveats', () => {
  it('narrow: paths concatenate, activities intersect, the earliest end counts', () => {
    const bounds = readCaveats([
      'path:/data',
      'activity:DOWNLOAD,LIST,UPLOAD',
      'before:2030-01-01T00:00:00Z',
      'path:/2010/',
      'activity:LIST, DOWNLOAD',
      'before:2029-01-01T00:00:00.000Z',
      'max-upload:100',
      'max-upload:500',
      'home:/data/alice',
    ]);
    expect(bounds.path).toEqual(['data', '2010']);
    expect([...bounds.activities]).toEqual(['LIST', 'DOWNLOAD']);
    expect(bounds.expiresAt.toISOString()).toBe('2029-01-01T00:00:00.000Z');
    expect(bounds.maximumUploadBytes).toBe(100);
  });

  it.each([
    'id:0;0;root',
    'name:root',
    'path:../x',
    'path:relative',
    'path:/a/%2e%2e/b',
    'activity:EVERYTHING',
    'activity:',
    'before:tomorrow',
    'before:2030-01-01',
    'ip:1.2.3.4/33',
    'ip:localhost',
    'max-upload:-1',
    'nonsense',
    '',
  ])('%j is refused', (caveat) => {
    expect(() => readCaveats([caveat])).toThrow(WeftError);
  });

  it('tell who may use it from where and until when', () => {
    const bounds = readCaveats(['ip:192.0.2.0/24,2001:db8::/32', 'before:2030-01-01T00:00:00Z']);
    const now = new Date('2029-12-31T23:59:59Z');
    expect(findViolation(bounds, { address: '192.0.2.9', now })).toBeUndefined();
    expect(findViolation(bounds, { address: '::ffff:192.0.2.9', now })).toBeUndefined();
    expect(findViolation(bounds, { address: '2001:db8::1', now })).toBeUndefined();
    expect(findViolation(bounds, { address: '192.0.3.9', now })).toMatch(/address/);
    const late = new Date('2030-01-01T00:00:00Z');
    expect(findViolation(bounds, { address: '192.0.2.9', now: late })).toMatch(/expired/);
  });

  it('can only narrow, whatever is added', () => {
    const caveat = fc.oneof(
      fc
        .array(fc.constantFrom('a', 'b', 'c d'), { maxLength: 3 })
        .map((path) => `path:/${path.map(encodeURIComponent).join('/')}`),
      fc.subarray([...ACTIVITIES], { minLength: 1 }).map((names) => `activity:${names.join(',')}`),
      fc
        .date({ min: new Date('2025-01-01'), max: new Date('2035-01-01'), noInvalidDate: true })
        .map((time) => `before:${time.toISOString()}`),
      fc.nat().map((bytes) => `max-upload:${bytes}`),
      fc.string().map((text) => `home:${text}`),
    );
    fc.assert(
      fc.property(fc.array(caveat), caveat, (caveats, more) => {
        const before = readCaveats(caveats);
        const after = readCaveats([...caveats, more]);
        expect(before.path.every((segment, index) => after.path[index] === segment)).toBe(true);
        expect([...after.activities].every((activity) => before.activities.has(activity))).toBe(true);
        expect(after.expiresAt.getTime()).toBeLessThanOrEqual(before.expiresAt.getTime());
        expect(after.maximumUploadBytes ?? Infinity).toBeLessThanOrEqual(
          before.maximumUploadBytes ?? Infinity,
        );
      }),
      { numRuns: 300 },
    );
  });
});
