import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodePath, parseResourcePath } from '../core/resource-path.ts';
import { printDigests, wantedDigest } from './digest-headers.ts';
import { parseIf } from './if-header.ts';
import { parseRanges } from './ranges.ts';
import { parseXml, printXml } from './xml.ts';

describe('ranges', () => {
  it('lie inside the file, do not overlap, and hold what was asked for', () => {
    const part = fc.tuple(fc.option(fc.nat(300)), fc.option(fc.nat(300)));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), fc.nat(200), (parts, size) => {
        const text = `bytes=${parts.map(([first, last]) => `${first ?? ''}-${last ?? ''}`).join(',')}`;
        const ranges = parseRanges(text, size);
        if (!ranges) return;
        const covered = new Set<number>();
        for (const { start, end } of ranges) {
          expect(start >= 0 && start < end && end <= size).toBe(true);
          for (let at = start; at < end; at++) {
            expect(covered.has(at)).toBe(false);
            covered.add(at);
          }
        }
        for (const [first, last] of parts) {
          if (first !== null && first < size) expect(covered.has(first)).toBe(true);
          if (first === null && last !== null && last > 0 && size > 0)
            expect(covered.has(size - 1)).toBe(true);
        }
      }),
    );
  });

  it('that make no sense are no ranges', () => {
    for (const text of [
      undefined,
      'bytes',
      'bytes=',
      'bytes=a-b',
      'bytes=-',
      'bytes=5-2',
      `bytes=${'0-0,'.repeat(2000)}1-1`,
    ]) {
      expect(parseRanges(text, 10)).toBeUndefined();
    }
    expect(parseRanges('bytes=-0', 10)).toEqual([]);
    expect(parseRanges('bytes=9007199254740993-', 10)).toEqual([]);
  });
});

describe('the header If', () => {
  it('is read with its tags, negations and entity tags', () => {
    expect(parseIf('</a> (<urn:1> ["e"]) (Not <DAV:no-lock>)')).toEqual([
      {
        resource: '/a',
        conditions: [
          { negated: false, kind: 'token', value: 'urn:1' },
          { negated: false, kind: 'etag', value: '"e"' },
        ],
      },
      { resource: '/a', conditions: [{ negated: true, kind: 'token', value: 'DAV:no-lock' }] },
    ]);
  });

  it('ends in an error, never in a hang, whatever it holds', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('(', ')', '<', '>', '[', ']', '"', 'Not', ' ', 'a', 'W/') }),
        (text) => {
          try {
            expect(parseIf(text).length).toBeGreaterThan(0);
          } catch (error) {
            expect(error).toMatchObject({ code: 'invalid-if' });
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('paths', () => {
  it('come back as they were after encoding', () => {
    const segment = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((text) => {
      const plain = decodeURIComponent(encodeURIComponent(text.toWellFormed()));
      return plain === text && !/\p{Cc}|\//u.test(text) && !/^\.\.?$/.test(text) && !text.includes('%');
    });
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 5 }), (segments) => {
        expect(parseResourcePath(encodePath(segments)).segments).toEqual(segments);
      }),
    );
  });

  it('that are too long, or have a fragment, are refused', () => {
    for (const path of [`/${'a'.repeat(256)}`, '/a'.repeat(2100), '/a#b', 'a', '/%c3%28', '/\u00ff']) {
      expect(() => parseResourcePath(path)).toThrow(/not acceptable/);
    }
  });
});

describe('Want-Digest', () => {
  const ask = (headers: Record<string, string>) => {
    const request = new IncomingMessage(new Socket());
    Object.assign(request.headers, headers);
    Object.assign(
      request.headersDistinct,
      Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
    );
    return wantedDigest(request);
  };

  it('prefers by weight and skips what we do not know', () => {
    expect(ask({ 'want-digest': 'unknown, md5;q=0.3, ADLER32;q=0.9, sha;q=0' })).toMatchObject({
      algorithm: 'adler32',
    });
    expect(ask({ 'want-digest': 'unixcksum' })).toBeUndefined();
    expect(ask({ 'want-repr-digest': 'md5=5,adler=7' })).toMatchObject({
      algorithm: 'adler32',
      dialect: 'repr-digest',
    });
    expect(ask({ 'want-repr-digest': 'rubbish' })).toBeUndefined();
  });

  it('is answered under the name that was asked for', () => {
    const wanted = ask({ 'want-digest': 'adler' });
    expect(printDigests({ adler32: '11e60398' }, wanted)).toEqual({ digest: 'adler=11e60398' });
  });
});

describe('XML', () => {
  it('means the same after printing', () => {
    const text =
      '<a xmlns="u:1" xmlns:b="u:2" b:c="1&amp;"><b:d xml:lang="de">x &lt; y<e xmlns=""/></b:d> z</a>';
    const once = parseXml(Buffer.from(text));
    expect(parseXml(Buffer.from(printXml(once)))).toEqual(once);
  });

  it('that is hostile is refused', () => {
    for (const text of [
      '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
      '<a>&x;</a>',
      '<a'.repeat(100),
      '<a>'.repeat(80),
      '<p:a/>',
      '',
    ]) {
      expect(() => parseXml(Buffer.from(text))).toThrow(/no XML that is understood/);
    }
  });
});
