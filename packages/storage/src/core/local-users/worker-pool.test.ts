import { createLogger } from '@weft/kernel/telemetry';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Account } from './accounts.ts';
import { createWorkerPool, type WorkerPool } from './worker-pool.ts';
import { PrivilegeError, requireUnprivileged, type WorkerProcess } from './worker-process.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const accountOf = (uid: number): Account => ({ name: `u${uid}`, uid, gid: uid, home: '/', groups: [uid] });

describe('the life of workers', () => {
  let pool: WorkerPool;
  let started: number[];
  let stopped: number[];
  let crash: Map<number, () => void>;

  function open(maximum: number): void {
    pool = createWorkerPool({
      maximum,
      idleSeconds: 10,
      log,
      settingsOf: () => ({ areas: [] }),
      start: async ({ uid }) => {
        started.push(uid);
        let end: () => void = () => undefined;
        const ended = new Promise<void>((resolve) => {
          end = resolve;
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
    ['a capability', { CapEff: '00000000000800e0' }],
    ['a way to privileges', { NoNewPrivs: '0' }],
  ])('is refused for %s', (_, changes) => {
    expect(() => requireUnprivileged(status(changes), account)).toThrow(PrivilegeError);
  });
});
