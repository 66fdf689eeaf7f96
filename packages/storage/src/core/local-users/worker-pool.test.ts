import { createLogger } from '@weft/kernel/telemetry';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Account } from './accounts.ts';
import { PrivilegeError, requireUnprivileged } from './privileges.ts';
import { createWorkerPool, type WorkerPool } from './worker-pool.ts';
import type { WorkerProcess } from './worker-process.ts';

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const log = createLogger({ name: 'test', level: 'silent' });
const accountOf = (uid: number): Account => ({ name: `u${uid}`, uid, gid: uid, home: '/', groups: [uid] });

describe('the life of workers', () => {
  let pool: WorkerPool;
  let started: number[];
  let stopped: number[];
  let crash: Map<number, () => void>;
  let running: number;
  let mostRunning: number;

  function open(maximum: number, startMilliseconds = 0): void {
    pool = createWorkerPool({
      maximum,
      idleSeconds: 10,
      log,
      maximumStarting: 2,
      settingsOf: (identity) => ({ identity, areas: [] }),
      start: async ({ uid }) => {
        started.push(uid);
        running += 1;
        mostRunning = Math.max(mostRunning, running);
        if (startMilliseconds > 0) await sleep(startMilliseconds);
        running -= 1;
        let end: () => void = () => undefined;
        const ended = new Promise<string>((resolve) => {
          end = () => resolve('');
        });
        crash.set(uid, end);
        const worker: WorkerProcess = {
          pid: uid,
          ended,
          adopt: () => undefined,
          call: () => Promise.reject(new Error('not asked')),
          stop: async () => {
            stopped.push(uid);
            end();
          },
        };
        return worker;
      },
    });
  }

  beforeEach(() => {
    vi.useFakeTimers();
    started = [];
    stopped = [];
    crash = new Map();
    running = 0;
    mostRunning = 0;
  });
  afterEach(async () => {
    await pool.close();
    vi.useRealTimers();
  });

  it('starts one worker for all requests of a user', async () => {
    open(10);
    await Promise.all([1, 1, 1, 2].map((uid) => pool.use(accountOf(uid), async () => undefined)));
    expect(started.toSorted()).toEqual([1, 2]);
  });

  it('never stops a worker while it is used, however long, and stops it once it has been idle', async () => {
    open(10);
    let finish: () => void = () => undefined;
    const work = pool.use(accountOf(1), () => new Promise<void>((resolve) => (finish = resolve)));
    await vi.advanceTimersByTimeAsync(24 * 3600 * 1000);
    expect(stopped).toEqual([]);
    finish();
    await work;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(stopped).toEqual([1]);
  });

  it('makes room by stopping who has been idle for longest, and refuses when all are busy', async () => {
    open(2);
    await pool.use(accountOf(1), async () => undefined);
    await vi.advanceTimersByTimeAsync(10);
    await pool.use(accountOf(2), async () => undefined);
    await pool.use(accountOf(3), async () => undefined);
    expect(stopped).toEqual([1]);
    const busy = [2, 3].map((uid) => pool.use(accountOf(uid), () => new Promise<void>(() => undefined)));
    await vi.advanceTimersByTimeAsync(1);
    await expect(pool.use(accountOf(4), async () => undefined)).rejects.toMatchObject({
      code: 'too-many-workers',
    });
    expect(busy).toHaveLength(2);
  });

  it('waits longer after each crash, and leaves other users alone', async () => {
    open(10);
    await pool.use(accountOf(1), async () => undefined);
    crash.get(1)?.();
    await vi.advanceTimersByTimeAsync(1);
    await expect(pool.use(accountOf(1), async () => undefined)).rejects.toMatchObject({
      code: 'worker-failing',
    });
    await pool.use(accountOf(2), async () => undefined);
    await vi.advanceTimersByTimeAsync(250);
    await pool.use(accountOf(1), async () => undefined);
    expect(started).toEqual([1, 2, 1]);
  });

  it('starts a few at a time, and the others in their turn', async () => {
    open(100, 50);
    const all = Promise.all(
      Array.from({ length: 20 }, (_, uid) => pool.use(accountOf(uid), async () => undefined)),
    );
    await vi.advanceTimersByTimeAsync(20_000);
    await all;
    expect(started).toHaveLength(20);
    expect(mostRunning).toBe(2);
  });

  it('refuses those whose turn does not come in time, and holds it against nobody', async () => {
    open(100, 20_000);
    const uses = [1, 2, 3, 4, 5].map((uid) => pool.use(accountOf(uid), async () => undefined));
    const settled = Promise.allSettled(uses);
    await vi.advanceTimersByTimeAsync(60_000);
    const refused = (await settled).flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []));
    expect(refused).toEqual(['too-busy']);
    const again = pool.use(accountOf(5), async () => undefined);
    await vi.advanceTimersByTimeAsync(20_000);
    await again;
  });

  it('gives a user whose groups have changed another worker, and lets running requests end with the first', async () => {
    open(10);
    let finish: () => void = () => undefined;
    const busy = pool.use(accountOf(1), () => new Promise<void>((resolve) => (finish = resolve)));
    await vi.advanceTimersByTimeAsync(1);
    await pool.use({ ...accountOf(1), groups: [1, 7] }, async () => undefined);
    expect(started).toEqual([1, 1]);
    expect(stopped).toEqual([]);
    finish();
    await busy;
    await vi.advanceTimersByTimeAsync(1);
    expect(stopped).toEqual([1]);
    expect(pool.count()).toEqual({ running: 1, busy: 0 });
  });

  it('bounds how many requests wait for one start', async () => {
    open(10, 1000);
    const outcomes = Promise.allSettled(
      Array.from({ length: 1001 }, () => pool.use(accountOf(1), async () => undefined)),
    );
    await vi.advanceTimersByTimeAsync(2000);
    const refused = (await outcomes).filter(({ status }) => status === 'rejected');
    expect(refused).toHaveLength(1);
  });
});

describe('what the kernel says about a worker', () => {
  const account: Account = { name: 'a', uid: 1001, gid: 1001, home: '/', groups: [100, 1001] };
  const status = (changes: Record<string, string> = {}) =>
    Object.entries({
      Uid: '1001\t1001\t1001\t1001',
      Gid: '1001\t1001\t1001\t1001',
      Groups: '100 1001 ',
      CapInh: '0000000000000000',
      CapPrm: '0000000000000000',
      CapEff: '0000000000000000',
      CapAmb: '0000000000000000',
      NoNewPrivs: '1',
      ...changes,
    })
      .map(([name, value]) => `${name}:\t${value}\n`)
      .join('');

  it('is accepted when nothing is left', () => {
    expect(() => requireUnprivileged(status(), account)).not.toThrow();
  });

  it.each([
    ['a user id', { Uid: '1001\t1001\t0\t1001' }],
    ['another group', { Groups: '0 100 1001' }],
    ['a group too few', { Groups: '1001' }],
    ['a capability to inherit', { CapInh: '0000000000000080' }],
    ['a capability', { CapEff: '00000000000800e0' }],
    ['a way to privileges', { NoNewPrivs: '0' }],
  ])('is refused for %s', (_, changes) => {
    expect(() => requireUnprivileged(status(changes), account)).toThrow(PrivilegeError);
  });
});
