import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadCachedLookup } from './cached-lookup.ts';
import { openLocalFiles } from './local-files.ts';
import { unpackEntries } from './packed-entries.ts';
import { STAGING_FOLDER } from './staging.ts';
import type { AreaFiles } from './types.ts';

const content = (text: string) => new TextEncoder().encode(text);

describe.each([
  { name: 'in threads', inline: false, cached: false },
  { name: 'in threads, after the kernel was asked what it remembers', inline: false, cached: true },
  { name: 'inline', inline: true, cached: false },
])('short calls $name', ({ inline, cached }) => {
  let root: string;
  let files: AreaFiles;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'weft-short-'));
    const lookUpCached = cached ? await loadCachedLookup(root) : undefined;
    files = await openLocalFiles({ root, durability: 'data', umask: 0o027, inline, lookUpCached });
  });
  afterAll(async () => {
    await files.close();
    rmSync(root, { recursive: true });
  });

  async function store(path: string[], text: string, replace = true): Promise<void> {
    const file = await files.stage(text.length);
    await file.write(content(text), 0);
    await file.commit(path, { replace });
  }

  const failure = (work: Promise<unknown>) =>
    work.then(
      () => 'none',
      (error: { code?: string }) => error.code,
    );

  it('a hundred files at once are there, each with its own content, and nothing else is', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `many-${index}`);
    await Promise.all(names.map((name) => store([name], `content of ${name}`)));
    for (const name of names) expect(readFileSync(join(root, name), 'utf8')).toBe(`content of ${name}`);
    expect(readdirSync(join(root, STAGING_FOLDER))).toEqual([]);
    expect(statSync(join(root, 'many-0')).mode & 0o777).toBe(0o640);
    const found = await Promise.all(names.map((name) => files.lookup([name])));
    expect(found.every((facts) => facts?.kind === 'file')).toBe(true);
    await Promise.all(names.map((name) => files.remove([name])));
    expect(readdirSync(root)).toEqual([STAGING_FOLDER]);
  });

  it('of two that must not replace, one wins', async () => {
    const results = await Promise.allSettled([store(['new'], 'one', false), store(['new'], 'two', false)]);
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(readdirSync(join(root, STAGING_FOLDER))).toEqual([]);
  });

  it('the failure of one call is its own', async () => {
    mkdirSync(join(root, 'folder'));
    const [missing, taken, fine] = await Promise.all([
      failure(store(['nowhere', 'file'], 'text')),
      failure(store(['folder'], 'text')),
      failure(store(['folder', 'file'], 'text')),
    ]);
    expect([missing, taken, fine]).toEqual(['not-found', 'is-collection', 'none']);
    expect(readdirSync(join(root, STAGING_FOLDER))).toEqual([]);
  });

  it('no link is followed, as a file or on the way to one', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'weft-outside-'));
    writeFileSync(join(outside, 'secret'), 'secret');
    symlinkSync(outside, join(root, 'way'));
    symlinkSync(join(outside, 'secret'), join(root, 'link'));
    expect(await files.lookup(['way', 'secret'])).toBeUndefined();
    expect(await failure(files.lookup(['link']))).toBe('symbolic-link');
    expect(await failure(store(['way', 'planted'], 'text'))).toBe('not-found');
    expect(await failure(files.remove(['way', 'secret']))).toBe('not-found');
    expect(readdirSync(outside)).toEqual(['secret']);
    rmSync(outside, { recursive: true });
  });

  it('what is about to happen is on record before it does, and says whether the name is new', async () => {
    const notes = join(root, 'notes');
    const descriptor = openSync(notes, 'ax');
    const note = { descriptor, made: 'made\n', replaced: 'replaced\n' };
    const put = async (text: string) => {
      const file = await files.stage(text.length);
      await file.write(content(text), 0);
      return file.commitNoted?.(['noted'], { replace: true }, note);
    };
    expect(await put('one')).toMatchObject({ created: true, facts: { size: 3 } });
    expect(await put('other')).toMatchObject({ created: false, facts: { size: 5 } });
    expect(await files.removeNoted?.(['noted'], note)).toEqual([]);
    symlinkSync('/nowhere', join(root, 'noted'));
    expect(await failure(put('over a link'))).toBe('symbolic-link');
    expect(readlinkSync(join(root, 'noted'))).toBe('/nowhere');
    expect(readFileSync(notes, 'utf8')).toBe('made\nreplaced\nreplaced\n');
    closeSync(descriptor);
    // Without its note nothing happens.
    const unwritable = { ...note, descriptor: -1 };
    const file = await files.stage(4);
    await file.write(content('text'), 0);
    expect(
      await failure(Promise.resolve(file.commitNoted?.(['unnoted'], { replace: true }, unwritable))),
    ).not.toBe('none');
    expect(await files.lookup(['unnoted'])).toBeUndefined();
    expect(readdirSync(join(root, STAGING_FOLDER))).toEqual([]);
  });

  it('a folder that was moved away is not written to under its old name', async () => {
    const folder = join(root, 'moving');
    mkdirSync(folder);
    await store(['moving', 'first'], 'text');
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    await store(['moving', 'second'], 'text');
    expect(readdirSync(folder)).toEqual(['second']);
  });

  it('content that is longer than announced is stored all the same', async () => {
    const file = await files.stage(3);
    await file.write(content('one'), 0);
    await file.write(content(' and two'), 3);
    const facts = await file.commit(['longer'], { replace: true });
    expect(facts.size).toBe(11);
    expect(readFileSync(join(root, 'longer'), 'utf8')).toBe('one and two');
  });

  it('lists a folder in parts, each entry once', async () => {
    const folder = join(root, 'listed');
    mkdirSync(folder);
    const names = Array.from({ length: 700 }, (_, index) => `entry-${index}`);
    for (const name of names) writeFileSync(join(folder, name), name);
    const seen: string[] = [];
    for await (const batch of files.list(['listed'])) {
      for (const { name, facts } of unpackEntries(batch)) if (facts.size === name.length) seen.push(name);
    }
    expect(seen.toSorted()).toEqual(names.toSorted());
  });
});

it('what lies in the memory of the kernel is told at once, without following a link', async ({ skip }) => {
  const root = mkdtempSync(join(tmpdir(), 'weft-cached-'));
  const lookUp = await loadCachedLookup(root);
  if (!lookUp) skip();
  mkdirSync(join(root, 'folder'));
  writeFileSync(join(root, 'folder', 'file'), 'text');
  symlinkSync(join(root, 'folder'), join(root, 'way'));
  expect(lookUp?.(['folder', 'file'])?.facts).toMatchObject({ kind: 'file', size: 4 });
  expect(lookUp?.([])?.facts?.kind).toBe('collection');
  expect(lookUp?.(['way', 'file'])).toBeUndefined();
  expect(() => lookUp?.(['way'])).toThrow('Symbolic links');
  expect(lookUp?.([STAGING_FOLDER])).toBeUndefined();
  rmSync(root, { recursive: true });
});
