import type { FileFacts, ListedFile } from './types.ts';

/**
 * Entries of a collection on their way between threads: objects are copied one property at a time, which costs more than
 * finding out what is in them.
 */
export interface PackedEntries {
  readonly names: readonly string[];
  /** `FIELDS` for each name. */
  readonly numbers: BigInt64Array;
}

const FIELDS = 8;
const FILE = 0n;
const COLLECTION = 1n;

export function packEntries(entries: readonly ListedFile[]): PackedEntries {
  const numbers = new BigInt64Array(entries.length * FIELDS);
  for (const [index, { facts }] of entries.entries()) {
    numbers.set(
      [
        facts.kind === 'file' ? FILE : COLLECTION,
        facts.inode,
        BigInt(facts.size),
        facts.modifiedNs,
        facts.createdNs,
        BigInt(facts.mode),
        BigInt(facts.uid),
        BigInt(facts.gid),
      ],
      index * FIELDS,
    );
  }
  return { names: entries.map(({ name }) => name), numbers };
}

export function unpackEntries({ names, numbers }: PackedEntries): ListedFile[] {
  return names.map((name, index) => ({ name, facts: unpackFacts(numbers, index * FIELDS) }));
}

function unpackFacts(numbers: BigInt64Array, at: number): FileFacts {
  const field = (index: number) => numbers[at + index] ?? 0n;
  return {
    kind: field(0) === FILE ? 'file' : 'collection',
    inode: BigInt.asUintN(64, field(1)),
    size: Number(field(2)),
    modifiedNs: field(3),
    createdNs: field(4),
    mode: Number(field(5)),
    uid: Number(field(6)),
    gid: Number(field(7)),
  };
}
