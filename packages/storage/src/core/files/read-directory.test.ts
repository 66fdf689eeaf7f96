import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bytesOfName, nameOfBytes } from '../raw-names.ts';
import { type DirectoryCalls, loadDirectoryCalls } from './directory-calls.ts';
import { toFacts } from './facts.ts';
import { createListingThreads } from './listing-threads.ts';
import { packEntries, unpackEntries } from './packed-entries.ts';
import { type ListedDirectory, readDirectory, readDirectoryFromWithin } from './read-directory.ts';
import type { ListedFile, PackedEntries } from './types.ts';

let calls: DirectoryCalls | undefined;
let folder: string;
let descriptor: number;

const manyNames = Array.from({ length: 1500 }, (_, index) => `entry-${index}`);
let many: string;

beforeAll(async () => {
  calls = await loadDirectoryCalls();
  many = mkdtempSync(join(tmpdir(), 'weft-list-'));
  writeFileSync(join(many, 'entry-0'), '');
  // Many names of few files: quick to make.
  for (const [index, name] of manyNames.entries())
    if (index > 0) linkSync(join(many, 'entry-0'), join(many, name));
});
afterAll(() => rmSync(many, { recursive: true, force: true }));
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-list-'));
  descriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
});
afterEach(() => {
  closeSync(descriptor);
  rmSync(folder, { recursive: true, force: true });
});

const directory = (hidden?: string): ListedDirectory => ({
  descriptor,
  prefix: process.platform === 'linux' ? `/proc/self/fd/${descriptor}` : folder,
  hidden,
});

/** Each way there is to read a directory on this system. */
const ways: [string, (of: ListedDirectory) => Iterable<PackedEntries> | undefined][] = [
  ['by system calls', (of) => calls && readDirectory(of, calls)],
  ['by paths', (of) => readDirectory(of, undefined)],
  // A thread has no working directory of its own.
  [
    'from within',
    (of) => (process.platform === 'linux' && !inThread() ? readDirectoryFromWithin(of) : undefined),
  ],
];

function inThread(): boolean {
  try {
    process.chdir(process.cwd());
    return false;
  } catch {
    return true;
  }
}

function listed(batches: Iterable<PackedEntries>): ListedFile[] {
  return [...batches]
    .flatMap((batch) => unpackEntries(batch))
    .toSorted((one, other) => Buffer.compare(bytesOfName(one.name), bytesOfName(other.name)));
}

function put(name: string, content = name): void {
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), bytesOfName(name)]), content);
}

describe.each(ways)('a directory that is read %s', (_, read) => {
  it('tells of each file and collection what the file system says', ({ skip }) => {
    const names = [
      ...['a', 'zwei wörter', '&<>"%#?', "'", 'tab\tline\n', '\u007f', '\u{1f600}', '.hidden', '...', '-rf'],
      ...[nameOfBytes(Buffer.of(0x63, 0xe9)), nameOfBytes(Buffer.of(0xff)), '\ufffd', 'x'.repeat(255)],
    ];
    for (const name of names) put(name);
    mkdirSync(join(folder, 'collection'));
    utimesSync(join(folder, 'a'), 1.5, -2.5);
    const expected = [...names, 'collection']
      .toSorted((one, other) => Buffer.compare(bytesOfName(one), bytesOfName(other)))
      .map((name) => ({
        name,
        facts: toFacts(
          lstatSync(Buffer.concat([Buffer.from(`${folder}/`), bytesOfName(name)]), { bigint: true }),
        ),
      }));
    symlinkSync('a', join(folder, 'link'));
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    mkdirSync(join(folder, '.weft-staging'));
    const batches = read(directory('.weft-staging'));
    if (!batches) return skip();
    expect(listed(batches)).toEqual(expected);
  });

  it('gives many entries in parts, the first of them small, each entry once', ({ skip }) => {
    const own = openSync(many, constants.O_RDONLY | constants.O_DIRECTORY);
    const prefix = process.platform === 'linux' ? `/proc/self/fd/${own}` : many;
    const batches = read({ descriptor: own, prefix, hidden: undefined });
    if (!batches) return skip();
    const parts = [...batches];
    closeSync(own);
    expect(parts.length).toBeGreaterThan(2);
    expect(parts[0]?.count).toBeLessThan(100);
    expect(listed(parts).map(({ name }) => name)).toEqual(manyNames.toSorted());
  });

  it('leaves out what vanishes while it is listed', ({ skip }) => {
    for (let index = 0; index < 300; index++) put(`entry-${index}`);
    const batches = read(directory());
    if (!batches) return skip();
    let count = 0;
    for (const batch of batches) {
      count += batch.count;
      for (let index = 0; index < 300; index++) rmSync(join(folder, `entry-${index}`), { force: true });
    }
    expect(count).toBeLessThan(300);
  });

  it('ends where the directory itself vanishes', ({ skip }) => {
    const gone = join(folder, 'gone');
    mkdirSync(gone);
    for (let index = 0; index < 200; index++) writeFileSync(join(gone, `entry-${index}`), '');
    const own = openSync(gone, constants.O_RDONLY | constants.O_DIRECTORY);
    const batches = read({ descriptor: own, prefix: `/proc/self/fd/${own}`, hidden: undefined });
    if (!batches) return skip();
    for (const __ of batches) {
      for (let index = 0; index < 200; index++) rmSync(join(gone, `entry-${index}`), { force: true });
      rmSync(gone, { recursive: true, force: true });
    }
    closeSync(own);
  });
});

describe('threads that read directories', () => {
  const threads = createListingThreads(2);
  afterAll(() => threads.close());

  it('read several at once, whoever goes on first', async () => {
    for (let index = 0; index < 300; index++) put(`entry-${index}`);
    const other = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    const third = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    const of = (own: number) =>
      threads.read({ descriptor: own, prefix: `/proc/self/fd/${own}`, hidden: undefined });
    const counts = await Promise.all(
      [descriptor, other, third].map(async (own) => {
        let count = 0;
        for await (const batch of of(own)) count += batch.count;
        return count;
      }),
    );
    expect(counts).toEqual([300, 300, 300]);
    closeSync(other);
    closeSync(third);
  });

  it('tell why a directory cannot be read', async () => {
    put('file');
    const file = openSync(join(folder, 'file'), constants.O_RDONLY);
    const reading = threads.read({
      descriptor: file,
      prefix: `/proc/self/fd/${file}`,
      hidden: undefined,
    });
    await expect(reading[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'ENOTDIR' });
    closeSync(file);
    unlinkSync(join(folder, 'file'));
    rmdirSync(folder);
    mkdirSync(folder);
  });
});

it('entries come back from memory as what they were', () => {
  const facts = {
    kind: 'file' as const,
    inode: 0xffff_ffff_ffff_fff0n,
    size: Number.MAX_SAFE_INTEGER,
    modifiedNs: -1n,
    createdNs: 1_700_000_000_123_456_789n,
    mode: 0o100644,
    uid: 4_294_967_294,
    gid: 0,
  };
  const entries: ListedFile[] = [
    { name: 'one', facts },
    { name: nameOfBytes(Buffer.of(0xff, 0x41)), facts: { ...facts, kind: 'collection', mode: 0o040755 } },
  ];
  expect(unpackEntries(packEntries(entries))).toEqual(entries);
});
