import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Digests } from '../core/checksums/digests.ts';
import { packEntries } from '../core/files/packed-entries.ts';
import type { ListedFile } from '../core/files/types.ts';
import { nameOfBytes } from '../core/raw-names.ts';
import { encodePath, encodeSegment } from '../core/resource-path.ts';
import { ByteWriter } from './byte-writer.ts';
import { createEntryPrinter } from './print-entries.ts';
import { printResource, type Question } from './print-properties.ts';
import { LIVE_PROPERTIES, type PropertyName, type Resource } from './properties.ts';
import { DAV } from './xml.ts';

const SPACE = { usedBytes: 12, availableBytes: 34 };
const FOLDER = ['a b', 'é&<'];
const HREF = encodePath(FOLDER, true);

const name = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 40, unit: 'binary' }).map((text) => Buffer.from(text)),
    fc
      .constantFrom('climdiv-1.nc', 'x.CSV', 'csv', '.', '&<>"%#?\'', '\u007f\u0085', '.tar.gz')
      .map(Buffer.from),
    fc.uint8Array({ minLength: 1, maxLength: 255 }),
  )
  .map(nameOfBytes);

/** Nanoseconds since the epoch: today's, those before it, and what `touch` can write. */
const time = fc.oneof(
  fc.bigInt({ min: 1_500_000_000_000_000_000n, max: 1_900_000_000_000_000_000n }),
  fc.bigInt({ min: -10_000_000_000n, max: 10_000_000_000n }),
  fc.bigInt({ min: -(2n ** 82n), max: 2n ** 82n }),
);

const file: fc.Arbitrary<ListedFile> = fc.record({
  name,
  facts: fc
    .record({
      kind: fc.constantFrom('file' as const, 'collection' as const),
      inode: fc.oneof(fc.bigInt({ min: 1n, max: 2n ** 32n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
      size: fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant(2 ** 62)),
      modifiedNs: time,
      createdNs: time,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
      gid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
    })
    .map((facts) => ({ ...facts, mode: facts.mode + (facts.kind === 'file' ? 0o100000 : 0o040000) })),
});

const digests = fc.constantFrom<(Digests | undefined)[]>(
  undefined,
  { adler32: '0a1b2c3d' },
  { md5: 'd41d8cd98f00b204e9800998ecf8427e' },
  {
    adler32: '0a1b2c3d',
    md5: 'd41d8cd98f00b204e9800998ecf8427e',
    sha: 'da39a3ee5e6b4b0d3255bfef95601890afd80709',
  },
);

const known: PropertyName[] = LIVE_PROPERTIES.map(({ namespace, name: local }) => ({
  namespace,
  name: local,
}));
const asked = fc.uniqueArray(
  fc.constantFrom<PropertyName[]>(
    ...known,
    { namespace: 'urn:x', name: 'none' },
    { namespace: DAV, name: 'no' },
  ),
  { maxLength: 12, selector: ({ namespace, name: local }) => `${namespace} ${local}` },
);
const question: fc.Arbitrary<Question> = fc.oneof(
  asked.map((include): Question => ({ kind: 'allprop', include })),
  asked.map((names): Question => ({ kind: 'prop', names })),
  fc.constant<Question>({ kind: 'propname' }),
);

function toResource({ name: own, facts }: ListedFile, known: Digests | undefined): Resource {
  const collection = facts.kind === 'collection';
  return {
    path: [...FOLDER, own],
    href: `${HREF}${encodeSegment(own)}${collection ? '/' : ''}`,
    facts,
    digests: (collection ? undefined : known) ?? {},
    space: collection ? SPACE : undefined,
    locality: undefined,
    locks: [],
    dead: [],
  };
}

describe('entries of a collection', () => {
  it('are printed as bytes exactly as each resource is as text', () => {
    fc.assert(
      fc.property(question, fc.array(fc.tuple(file, digests), { maxLength: 8 }), (what, entries) => {
        const printer = createEntryPrinter(what, { href: HREF, space: SPACE });
        const found = entries.map(([{ facts }, own]) => (facts.kind === 'file' ? own : undefined));
        const chunks = printer.print(packEntries(entries.map(([entry]) => entry)), found, new Map());
        const expected = entries.map(([entry, own]) => printResource(toResource(entry, own), what));
        expect(Buffer.concat([...chunks]).toString()).toBe(Buffer.from(expected.join('')).toString());
      }),
      { numRuns: 300 },
    );
  });

  it('that have locks or properties of their own are printed with them, among the others', () => {
    const facts = {
      kind: 'file',
      inode: 1n,
      size: 1,
      modifiedNs: 0n,
      createdNs: 0n,
      mode: 0o100644,
    } as const;
    const entries = ['a', 'b', 'c'].map((own) => ({ name: own, facts: { ...facts, uid: 0, gid: 0 } }));
    const [, second] = entries;
    if (!second) return expect.unreachable();
    const special = {
      ...toResource(second, undefined),
      dead: [{ namespace: 'u', name: 'x', element: '<x xmlns="u"/>' }],
    };
    const printer = createEntryPrinter({ kind: 'allprop', include: [] }, { href: HREF, space: SPACE });
    const chunks = [...printer.print(packEntries(entries), undefined, new Map([[1, special]]))];
    const text = Buffer.concat(chunks).toString();
    expect(text.match(/<d:displayname>.<\/d:displayname>/g)).toEqual(
      ['a', 'b', 'c'].map((own) => `<d:displayname>${own}</d:displayname>`),
    );
    expect(text.split('</d:response>').map((response) => response.includes('<x xmlns="u"/>'))).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });

  it('go out in chunks while they are printed, however much is asked of each', () => {
    const facts = {
      kind: 'file',
      inode: 1n,
      size: 1,
      modifiedNs: 0n,
      createdNs: 0n,
      mode: 0o100644,
    } as const;
    const entries = Array.from({ length: 20 }, (_, index) => ({
      name: `file-${index}`,
      facts: { ...facts, uid: 0, gid: 0 },
    }));
    const names = Array.from({ length: 3000 }, (_, index) => ({
      namespace: 'urn:x',
      name: `property-${index}`,
    }));
    const printer = createEntryPrinter({ kind: 'prop', names }, { href: HREF, space: SPACE });
    let chunks = 0;
    for (const chunk of printer.print(packEntries(entries), undefined, new Map())) {
      expect(chunk.length).toBeLessThan(300_000);
      chunks += 1;
    }
    expect(chunks).toBe(20);
  });
});

it('numbers are written as JavaScript prints them', () => {
  const numbers = fc.oneof(
    fc.maxSafeNat(),
    fc.nat(100),
    fc.constantFrom(0, 36, 35, 2 ** 53 - 1, 2 ** 62, 36 ** 6, 36 ** 6 - 1),
  );
  fc.assert(
    fc.property(numbers, fc.constantFrom(8, 10, 36), (number, radix) => {
      const out = new ByteWriter();
      out.reserve(100);
      out.number(number, radix);
      expect(Buffer.concat(out.take()).toString()).toBe(number.toString(radix));
    }),
  );
});
