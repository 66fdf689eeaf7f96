import { availableParallelism } from 'node:os';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import type { Account } from './accounts.ts';
import type { WorkerSettings } from './file-calls.ts';
import { createTurns } from './turns.ts';
import type { WorkerProcess } from './worker-process.ts';

export interface WorkerPoolOptions {
  readonly maximum: number;
  readonly idleSeconds: number;
  readonly settingsOf: (account: Account) => WorkerSettings;
  readonly log: Logger;
  /** A worker has ended with what it was doing, and may have left some of it behind. */
  readonly onEnded?: (account: Account) => void;
  /** Starts at once; others wait, because all together would take longer than any of them may. Default: two a core. */
  readonly maximumStarting?: number;
  readonly start: (account: Account, settings: WorkerSettings) => Promise<WorkerProcess>;
}

export interface WorkerPool {
  /** Runs `work` with the account's worker, which is started when there is none and not stopped while `work` runs. */
  use<Result>(account: Account, work: (worker: WorkerProcess) => Promise<Result>): Promise<Result>;
  count(): { running: number; busy: number };
  /** Those that have started. */
  describe(): PooledWorker[];
  /** Ends a worker when its last request has ended (`drain`), or with what it is doing (`kill`). */
  stop(pid: number, how: 'drain' | 'kill'): void;
  close(): Promise<void>;
}

export interface PooledWorker {
  readonly account: Account;
  readonly pid: number;
  /** Requests that hold it. */
  readonly users: number;
  readonly startedAt: Date;
  readonly usedAt: Date;
}

/** One user's worker; `users` counts the requests that hold it. */
interface Slot {
  readonly account: Account;
  readonly worker: Promise<WorkerProcess>;
  users: number;
  lastUsed: number;
  /** Once it has started. */
  process: { readonly pid: number; readonly startedAt: Date } | undefined;
  /** No new requests: another worker has taken its place, and it is stopped when the last one ends. */
  replaced: boolean;
}

/** How often an account's workers ended on their own, and until when no other is started. */
interface Trouble {
  crashes: number[];
  blockedUntil: number;
}

const CHECK_MILLISECONDS = 30_000;
const CRASH_WINDOW_MILLISECONDS = 60_000;
const MAXIMUM_CRASHES = 5;
const FIRST_BACK_OFF_MILLISECONDS = 200;
const MAXIMUM_BACK_OFF_MILLISECONDS = 10_000;
/** Requests of one user that may wait for the start, and how long all of them wait for a turn. */
const MAXIMUM_WAITING = 1_000;
const TURN_MILLISECONDS = 30_000;

/** A worker keeps the user, the groups and the folders that it was started with. */
function isSame(one: Account, other: Account): boolean {
  const facts = ({ uid, gid, home, groups }: Account) => JSON.stringify([uid, gid, home, groups]);
  return facts(one) === facts(other);
}

/** The life of workers (brief teapot 3.2): on demand, one a user, stopped only when nothing uses them. */
export function createWorkerPool(options: WorkerPoolOptions): WorkerPool {
  const slots = new Map<string, Slot>();
  const troubles = new Map<string, Trouble>();
  const stopping = new Set<Promise<void>>();
  const { start } = options;
  const turns = createTurns(options.maximumStarting ?? 2 * availableParallelism(), TURN_MILLISECONDS);
  let closed = false;

  /** Takes it out first, so that the next request starts another. */
  function retire(slot: Slot): void {
    if (slots.get(slot.account.name) === slot) slots.delete(slot.account.name);
    const stopped = slot.worker.then((worker) => worker.stop()).catch(() => undefined);
    stopping.add(stopped);
    void stopped.finally(() => stopping.delete(stopped));
  }

  /** The account has changed (its groups, most likely), and a running process cannot. */
  function replace(slot: Slot): void {
    slots.delete(slot.account.name);
    slot.replaced = true;
    if (slot.users === 0) retire(slot);
  }

  const idle = () =>
    [...slots.values()]
      .filter(({ users }) => users === 0)
      .toSorted((one, other) => one.lastUsed - other.lastUsed);

  function makeRoom(): void {
    if (slots.size < options.maximum) return;
    const [longest] = idle();
    if (!longest)
      throw new WeftError('unavailable', 'too-many-workers', 'Too many users are active; try again soon.');
    retire(longest);
  }

  function noteCrash(name: string): void {
    const now = Date.now();
    const trouble = troubles.get(name) ?? { crashes: [], blockedUntil: 0 };
    trouble.crashes = [...trouble.crashes.filter((at) => now - at < CRASH_WINDOW_MILLISECONDS), now];
    const count = trouble.crashes.length;
    const backOff = Math.min(FIRST_BACK_OFF_MILLISECONDS * 2 ** (count - 1), MAXIMUM_BACK_OFF_MILLISECONDS);
    trouble.blockedUntil = now + (count >= MAXIMUM_CRASHES ? CRASH_WINDOW_MILLISECONDS : backOff);
    troubles.set(name, trouble);
    if (count >= MAXIMUM_CRASHES)
      options.log.error(
        { account: name, crashes: count },
        'the worker of a user keeps failing; paused for a minute',
      );
  }

  function acquire(account: Account): Slot {
    const existing = slots.get(account.name);
    if (existing && isSame(existing.account, account)) {
      if (!existing.process && existing.users >= MAXIMUM_WAITING)
        throw new WeftError('unavailable', 'too-many-waiting', 'Too many requests wait; try again soon.');
      return existing;
    }
    if (existing) replace(existing);
    if (closed) throw new WeftError('unavailable', 'stopping', 'The service is stopping.');
    if ((troubles.get(account.name)?.blockedUntil ?? 0) > Date.now())
      throw new WeftError(
        'unavailable',
        'worker-failing',
        'The worker of this user keeps failing; try again.',
      );
    makeRoom();
    const slot: Slot = {
      account,
      worker: turns.take(() => start(account, options.settingsOf(account))),
      users: 0,
      lastUsed: Date.now(),
      process: undefined,
      replaced: false,
    };
    slots.set(account.name, slot);
    slot.worker.then(
      (worker) => {
        slot.process = { pid: worker.pid, startedAt: new Date() };
        return worker.ended.then((said) => {
          if (slots.get(account.name) !== slot) return;
          slots.delete(account.name);
          noteCrash(account.name);
          options.log.warn({ account: account.name, said }, 'a worker has ended on its own');
          options.onEnded?.(account);
        });
      },
      (error: unknown) => {
        if (slots.get(account.name) === slot) slots.delete(account.name);
        // Its turn has not come: nothing is wrong with it.
        if (error instanceof WeftError && error.code === 'too-busy') return;
        noteCrash(account.name);
        options.log.error({ account: account.name, error: describeError(error) }, 'a worker did not start');
      },
    );
    return slot;
  }

  const timer = setInterval(
    () => {
      const before = Date.now() - options.idleSeconds * 1000;
      for (const slot of idle()) if (slot.lastUsed <= before) retire(slot);
    },
    Math.min(CHECK_MILLISECONDS, options.idleSeconds * 500),
  );
  timer.unref();

  return {
    async use(account, work) {
      const slot = acquire(account);
      slot.users += 1;
      try {
        return await work(await slot.worker);
      } finally {
        slot.users -= 1;
        slot.lastUsed = Date.now();
        if (slot.replaced && slot.users === 0) retire(slot);
      }
    },
    count: () => ({
      running: slots.size,
      busy: [...slots.values()].filter(({ users }) => users > 0).length,
    }),
    describe: () =>
      [...slots.values()].flatMap(({ account, process, users, lastUsed }) =>
        process ? [{ account, ...process, users, usedAt: new Date(lastUsed) }] : [],
      ),
    stop(pid, how) {
      const slot = [...slots.values()].find(({ process }) => process?.pid === pid);
      if (!slot) return;
      if (how === 'drain') return replace(slot);
      retire(slot);
      if (slot.users > 0) options.onEnded?.(slot.account);
    },
    async close() {
      closed = true;
      clearInterval(timer);
      for (const slot of [...slots.values()]) retire(slot);
      await Promise.all(stopping);
    },
  };
}
