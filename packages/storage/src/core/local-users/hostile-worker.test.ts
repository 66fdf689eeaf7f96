import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, duplexPair } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toFacts } from '../files/facts.ts';
import { MODE, MODIFIED_SECONDS, NAME_AT, packEntries } from '../files/packed-entries.ts';
import { loadAdopt } from './adopt-descriptor.ts';
import { createChannel } from './channel.ts';
import { printFacts, type WorkerSettings } from './file-calls.ts';
import { remoteFiles } from './remote-files.ts';
import { createWorkerCalls, type WorkerCalls } from './worker-calls.ts';

const SETTINGS: WorkerSettings = { identity: { uid: 1001, gid: 1001, groups: [1001] }, areas: [] };

/** A worker in the hands of somebody else: says to each question what the test wants. */
describe('a worker that was taken over', () => {
  let calls: WorkerCalls;
  let worker: Duplex;
  let violations: string[];
  let answer: (id: number) => void;

  beforeEach(() => {
    const [own, its] = duplexPair();
    worker = its;
    violations = [];
    calls = createWorkerCalls(own, { hangMilliseconds: 150, onViolation: (why) => violations.push(why) });
    createChannel(its, {
      onMessage: (head) => answer(JSON.parse(head).id),
      onViolation: (error) => violations.push(`service: ${error.message}`),
    });
  });
  afterEach(() => calls.end());

  const say = (head: unknown, body?: Uint8Array) => {
    const text = Buffer.from(typeof head === 'string' ? head : JSON.stringify(head));
    sayLengths(text.length, body?.length ?? 0);
    worker.write(text);
    if (body) worker.write(body);
  };
  const sayLengths = (head: number, body: number) => {
    const prefix = Buffer.alloc(8);
    prefix.writeUInt32BE(head, 0);
    prefix.writeUInt32BE(body, 4);
    worker.write(prefix);
  };
  const files = () =>
    remoteFiles(
      { call: (request, schema, body) => calls.call(request, schema, body), adopt: () => undefined },
      'a',
    );
  const own = toFacts(statSync(fileURLToPath(import.meta.url), { bigint: true }));
  const facts = printFacts(own);

  it('is believed what has the shape of an answer', async () => {
    answer = (id) => say({ id, result: facts });
    expect((await files().stat(['x'])).kind).toBe('file');
    expect(violations).toEqual([]);
  });

  it.each<[string, (id: number) => void]>([
    ['no JSON', () => say('{')],
    ['JSON of another shape', () => say({ hello: 'world' })],
    ['more fields than there are', (id) => say({ id, result: facts, root: true })],
    ['an answer to a question that nobody put', (id) => say({ id: id + 1, result: facts })],
    ['facts with a size below zero', (id) => say({ id, result: { ...facts, size: -1 } })],
    ['facts with an inode that is no number', (id) => say({ id, result: { ...facts, inode: 'x' } })],
    ['a body where none belongs', (id) => say({ id, result: facts }, Buffer.alloc(10))],
    ['a head of 4 GiB', () => sayLengths(0xffff_ffff, 0)],
    ['a body of 4 GiB', () => sayLengths(10, 0xffff_ffff)],
    [
      'an error of a kind that is not its own',
      (id) => say({ id, failure: { kind: 'unauthenticated', code: '', message: '' } }),
    ],
  ])('is ended for %s, and the request fails cleanly', async (_, reply) => {
    answer = reply;
    await expect(files().stat(['x'])).rejects.toMatchObject({ kind: 'unavailable', code: 'worker-gone' });
    expect(violations).toHaveLength(1);
    // And nobody asks it anything again.
    await expect(files().stat(['x'])).rejects.toMatchObject({ code: 'worker-gone' });
  });

  it.each(['../up', '..', '.', 'a/b', '', 'a\0b', 'x'.repeat(256)])(
    'cannot list the name %j, which no directory holds',
    async (name) => {
      const { bytes } = packEntries([{ name, facts: own }]);
      answer = (id) =>
        id === 1 ? say({ id, result: { handle: 1 } }) : say({ id, result: { count: 1 } }, bytes);
      const list = async () => {
        for await (const _ of files().list(['x'])) expect.unreachable();
      };
      await expect(list()).rejects.toMatchObject({ code: 'worker-gone' });
      expect(violations).toHaveLength(1);
    },
  );

  it.each<[string, (entries: ReturnType<typeof packEntries>) => unknown]>([
    ['a pipe', ({ words }) => words.set([0o010644], MODE)],
    ['a name that lies elsewhere in memory', ({ words }) => words.set([4000], NAME_AT)],
    ['a time that is no number', ({ doubles }) => doubles.set([Number.NaN], MODIFIED_SECONDS)],
  ])('cannot list %s', async (_, falsify) => {
    const entries = packEntries([{ name: 'x', facts: own }]);
    falsify(entries);
    answer = (id) =>
      id === 1 ? say({ id, result: { handle: 1 } }) : say({ id, result: { count: 1 } }, entries.bytes);
    const list = async () => {
      for await (const _ of files().list(['x'])) expect.unreachable();
    };
    await expect(list()).rejects.toMatchObject({ code: 'worker-gone' });
    expect(violations).toHaveLength(1);
  });

  it('cannot list more entries than it sends', async () => {
    const { bytes } = packEntries([{ name: 'x', facts: own }]);
    answer = (id) =>
      id === 1 ? say({ id, result: { handle: 1 } }) : say({ id, result: { count: 2 } }, bytes);
    await expect(files().list(['x'])[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'worker-gone',
    });
  });

  it('cannot have events told about folders of others', async () => {
    answer = (id) => say({ id, result: [['a'], ['b']] });
    await expect(files().makeCollections(['a', 'c'])).rejects.toMatchObject({ code: 'worker-gone' });
  });

  it('cannot report failures about what was not to be removed', async () => {
    answer = (id) =>
      say({ id, result: [{ path: ['other'], failure: { kind: 'forbidden', code: 'x', message: 'x' } }] });
    await expect(files().remove(['mine'])).rejects.toMatchObject({ code: 'worker-gone' });
  });

  it('cannot send more content than was asked for', async () => {
    answer = (id) => {
      if (id === 1) say({ id, result: { handle: 1, descriptor: 9, facts } });
      else say({ id, result: null }, Buffer.alloc(1001));
    };
    const file = await files().open(['x']);
    await expect(file.read(Buffer.alloc(1000), 0)).rejects.toMatchObject({ code: 'worker-gone' });
  });

  it('is ended when it says nothing any more, while somebody waits', async () => {
    answer = () => undefined;
    await expect(files().stat(['x'])).rejects.toMatchObject({ code: 'worker-gone' });
    expect(violations).toEqual(['It does not answer.']);
  });

  it('may take its time as long as it answers pings', async () => {
    let asked = 0;
    answer = (id) => {
      asked += 1;
      if (id === 1) setTimeout(() => say({ id, result: facts }), 600);
      else say({ id, result: null });
    };
    expect((await files().stat(['x'])).kind).toBe('file');
    expect(asked).toBeGreaterThan(1);
    expect(violations).toEqual([]);
  });

  it('is not ready for anything else than saying so', async () => {
    answer = () => say({ ready: 'almost' });
    await expect(calls.start(SETTINGS)).rejects.toMatchObject({ code: 'worker-gone' });
  });
});

describe.skipIf(process.platform !== 'linux')('a descriptor that a worker offers', () => {
  let folder: string;
  let child: ChildProcess;
  const opened: number[] = [];
  const open = (path: string) => {
    const descriptor = openSync(path, 'r');
    opened.push(descriptor);
    return descriptor;
  };
  const PIPE = 0;
  const FILE = 1;
  const DEVICE = 2;
  const FOLDER = 3;
  const OTHER_FILE = 4;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-adopt-'));
    writeFileSync(join(folder, 'file'), 'content');
    writeFileSync(join(folder, 'other'), 'secret');
    const stdio = ['file', '/dev/zero', '.', 'other'].map((name) =>
      open(name.startsWith('/') ? name : join(folder, name)),
    );
    child = spawn('sleep', ['30'], { stdio: ['pipe', ...stdio] });
  });
  afterEach(() => {
    child.kill('SIGKILL');
    for (const descriptor of opened.splice(0)) closeSync(descriptor);
    rmSync(folder, { recursive: true });
  });

  it('is used when it is the regular file that was asked for, and nothing else', async () => {
    const adopter = (await loadAdopt())(child.pid ?? 0);
    const facts = toFacts(statSync(join(folder, 'file'), { bigint: true }));
    for (const descriptor of [PIPE, DEVICE, FOLDER, OTHER_FILE, 99, -1])
      expect(adopter.adopt(descriptor, facts), `descriptor ${descriptor}`).toBeUndefined();
    const file = adopter.adopt(FILE, facts);
    // Without koffi or the right to trace nothing is adopted at all.
    if (file) {
      const buffer = Buffer.alloc(7);
      await file.read(buffer, 0);
      expect(buffer.toString()).toBe('content');
      await file.close();
    } else expect(process.getuid?.()).not.toBe(0);
    adopter.close();
    expect(adopter.adopt(FILE, facts)).toBeUndefined();
  });
});

describe.skipIf(process.platform !== 'linux')(
  'a worker that finds itself with other rights than it must have',
  () => {
    it('ends before it touches anything', async () => {
      const root = join(tmpdir(), `weft-never-made-${process.pid}`);
      // As this very process: neither without privileges for good, nor in the groups that it is told.
      const child = spawn(process.execPath, [fileURLToPath(new URL('./worker.ts', import.meta.url))], {
        stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      });
      const socket = child.stdio[3];
      if (!(socket instanceof Duplex)) throw new Error('no socket pair');
      let said = '';
      child.stderr?.on('data', (chunk) => (said += chunk));
      const calls = createWorkerCalls(socket, { hangMilliseconds: 60_000, onViolation: () => child.kill() });
      child.on('exit', () => calls.end());
      const area = { name: 'a', root, durability: 'none' as const, umask: 0 };
      const started = calls.start({
        identity: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: [987_654] },
        areas: [area],
      });
      await Promise.all([
        expect(started).rejects.toMatchObject({ code: 'worker-gone' }),
        once(child, 'close').then(([code]) => expect(code).toBe(1)),
      ]);
      expect(said).toMatch(/^The worker (has|is in|may gain)/);
      expect(existsSync(root)).toBe(false);
    });
  },
);
