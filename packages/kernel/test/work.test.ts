import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Daemon } from '../src/component/daemon.ts';
import { startTestDatabase, type TestDatabase } from '../src/testing/test-database.ts';
import {
  defineQueue,
  discardDeadWork,
  enqueue,
  enqueueOne,
  GiveUp,
  type Job,
  LeaseLost,
  listDeadWork,
  RetryLater,
  retryDeadWork,
  startLoop,
  startWorker,
  type WorkerOptions,
} from '../src/work/index.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await startTestDatabase();
  await sql`create table effect (position bigserial, n int)`.execute(db.database.sql);
});
afterAll(async () => await db.stop());

const daemons: Daemon[] = [];
afterEach(async () => {
  await Promise.all(daemons.splice(0).map((daemon) => daemon.stop()));
  await sql`truncate effect, kernel.work, kernel.dead_work`.execute(db.database.sql);
});

let queues = 0;
const payload = z.strictObject({ n: z.number() });
type Payload = z.infer<typeof payload>;
/** A queue of its own for each test. */
function freshQueue(options: { maxAttempts?: number } = {}) {
  queues += 1;
  return defineQueue({ name: `test.queue-${queues}`, payload, ...options });
}

type TestQueue = ReturnType<typeof freshQueue>;

function work(
  queue: TestQueue,
  handler: (job: Job<Payload>) => Promise<void>,
  options: Partial<WorkerOptions> = {},
): Daemon {
  const worker = startWorker(
    queue,
    { database: db.database, wakeUps: db.wakeUps, log: db.log, ...options },
    handler,
  );
  daemons.push(worker);
  return worker;
}

async function put(
  queue: TestQueue,
  ...jobs: { n: number; key?: string; runAt?: Date; priority?: number }[]
) {
  return await db.database.transaction(
    async (tx) =>
      await enqueue(
        tx,
        db.wakeUps,
        queue,
        jobs.map(({ n, ...rest }) => ({ payload: { n }, ...rest })),
      ),
  );
}

async function waiting(queue: TestQueue): Promise<number> {
  const { rows } = await sql<{
    count: number;
  }>`select count(*) from kernel.work where queue = ${queue.name}`.execute(db.database.sql);
  return rows[0]?.count ?? 0;
}

async function effects(): Promise<number[]> {
  const { rows } = await sql<{ n: number }>`select n from effect order by position`.execute(db.database.sql);
  return rows.map((row) => row.n);
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('a queue', () => {
  test('runs every committed job once and none of a transaction that rolled back', async () => {
    const queue = freshQueue();
    const ran: number[] = [];
    work(queue, async (job) => void ran.push(job.payload.n));
    await db.database
      .transaction(async (tx) => {
        await enqueueOne(tx, db.wakeUps, queue, { n: -1 });
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    const ids = await put(queue, ...Array.from({ length: 250 }, (_, n) => ({ n })));
    expect(new Set(ids).size).toBe(250);
    await expect.poll(() => ran.length).toBe(250);
    await expect.poll(() => waiting(queue)).toBe(0);
    expect(ran.sort((a, b) => a - b)).toEqual(Array.from({ length: 250 }, (_, n) => n));
  });

  test('several workers share it and none runs a job twice', async () => {
    const queue = freshQueue();
    const other = await db.another();
    const ran = new Map<number, number>();
    const handler = async (job: Job<Payload>) => {
      ran.set(job.payload.n, (ran.get(job.payload.n) ?? 0) + 1);
      await pause(1);
    };
    await put(queue, ...Array.from({ length: 500 }, (_, n) => ({ n })));
    for (const pair of [db, other, db, other]) work(queue, handler, { ...pair, concurrency: 20 });
    await expect.poll(() => waiting(queue)).toBe(0);
    expect(ran.size).toBe(500);
    expect([...ran.values()].every((times) => times === 1)).toBe(true);
  });

  test('runs smaller priorities first, and first in first out among equals', async () => {
    const queue = freshQueue();
    await put(
      queue,
      { n: 3 },
      { n: 4 },
      { n: 1, priority: 1 },
      { n: 5, priority: 200 },
      { n: 2, priority: 1 },
    );
    const ran: number[] = [];
    work(queue, async (job) => void ran.push(job.payload.n), { concurrency: 1 });
    await expect.poll(() => ran).toEqual([1, 2, 3, 4, 5]);
  });

  test('runs a scheduled job at its time, not at the next poll', async () => {
    const queue = freshQueue();
    let ranAt = 0;
    // The next poll comes after this test has been given up.
    const pollSeconds = 600;
    work(
      queue,
      async () => {
        ranAt = Date.now();
      },
      { pollSeconds },
    );
    const runAt = new Date(Date.now() + 400);
    await put(queue, { n: 1, runAt });
    await expect.poll(() => ranAt).not.toBe(0);
    expect(ranAt - runAt.getTime()).toBeGreaterThanOrEqual(-5);
  });

  test('a key waits once, at the earliest time; while it runs it can wait again', async () => {
    const queue = freshQueue();
    const later = new Date(Date.now() + 3_600_000);
    const [first] = await put(queue, { n: 1, key: 'rule', runAt: later });
    const again = await put(
      queue,
      { n: 2, key: 'rule' },
      { n: 3, key: 'rule', runAt: later },
      { n: 4, key: 'else' },
    );
    expect(again[0]).toBe(first);
    expect(again[1]).toBe(first);
    expect(await waiting(queue)).toBe(2);

    const ran: number[] = [];
    let release: () => void = () => undefined;
    work(queue, async (job) => {
      ran.push(job.payload.n);
      if (ran.length === 2) {
        await put(queue, { n: 5, key: 'rule' });
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      }
    });
    await expect.poll(() => ran.toSorted()).toEqual([1, 4, 5]);
    release();
    await expect.poll(() => waiting(queue)).toBe(0);
  });

  test('refuses a payload that does not fit, at the door', async () => {
    const queue = freshQueue();
    const wrong = db.database.transaction(
      async (tx) => await enqueueOne(tx, db.wakeUps, queue, { n: Number.NaN }),
    );
    await expect(wrong).rejects.toThrow();
  });
});

describe('a job that fails', () => {
  test('is tried again with a growing attempt number, then succeeds', async () => {
    const queue = freshQueue();
    const attempts: number[] = [];
    work(queue, async (job) => {
      attempts.push(job.attempt);
      if (job.attempt < 3) throw new Error('not yet');
    });
    await put(queue, { n: 1 });
    await expect.poll(() => attempts).toEqual([1, 2, 3]);
    await expect.poll(() => waiting(queue)).toBe(0);
  });

  test('becomes a dead letter after its attempts, can be seen, retried and discarded', async () => {
    const queue = freshQueue({ maxAttempts: 2 });
    let broken = true;
    const ran: number[] = [];
    work(queue, async (job) => {
      if (broken) throw new Error('the disk says Authorization: Bearer abcdefghijklmnop');
      ran.push(job.payload.n);
    });
    await put(queue, { n: 1, key: 'k' }, { n: 2 });
    const list = () => listDeadWork(db.database.sql, { queue: queue.name });
    await expect.poll(async () => (await list()).length).toBe(2);
    const dead = await list();
    expect(dead.every((job) => job.failures === 2 && job.reason.startsWith('the disk says'))).toBe(true);
    expect(dead.every((job) => !job.reason.includes('abcdefghijklmnop'))).toBe(true);
    broken = false;
    const one = dead.find((job) => job.key === 'k');
    expect(await retryDeadWork(db.database, db.wakeUps, { ids: [one?.id ?? ''] })).toBe(1);
    await expect.poll(() => ran).toEqual([1]);
    expect(await discardDeadWork(db.database, { queue: queue.name })).toBe(1);
    expect(await list()).toEqual([]);
  });

  test('GiveUp and an unreadable payload are dead letters at once; RetryLater costs no attempt', async () => {
    const queue = freshQueue();
    const attempts: number[] = [];
    work(queue, async (job) => {
      if (job.payload.n === 0) throw new GiveUp('no use');
      attempts.push(job.attempt);
      if (attempts.length < 3) throw new RetryLater(0.05, 'the queue of the site is full');
    });
    await sql`insert into kernel.work (queue, payload, ready, due_at)
      values (${queue.name}, '{"old": true}', true, now())`.execute(db.database.sql);
    await put(queue, { n: 0 }, { n: 1 });
    await expect.poll(() => attempts).toEqual([1, 1, 1]);
    await expect
      .poll(async () => (await listDeadWork(db.database.sql, { queue: queue.name })).length)
      .toBe(2);
  });

  test('merges with a job of the same key that was enqueued meanwhile', async () => {
    const queue = freshQueue();
    const ran: number[] = [];
    work(queue, async (job) => {
      ran.push(job.payload.n);
      if (job.payload.n === 1) {
        await put(queue, { n: 2, key: 'same', runAt: new Date(Date.now() + 200) });
        throw new Error('fails after it was enqueued again');
      }
    });
    await put(queue, { n: 1, key: 'same' });
    await expect.poll(() => ran).toEqual([1, 2]);
    await expect.poll(() => waiting(queue)).toBe(0);
  });
});

describe('completion and leases', () => {
  const store = async (job: Job<Payload>, fail = false) =>
    await db.database.transaction(async (tx) => {
      await sql`insert into effect (n) values (${job.payload.n})`.execute(tx);
      await job.complete(tx);
      if (fail) throw new Error('rolled back after complete');
    });

  test('effect and completion commit together or not at all', async () => {
    const queue = freshQueue();
    work(queue, async (job) => await store(job, job.attempt < 3));
    await put(queue, { n: 7 });
    await expect.poll(() => waiting(queue)).toBe(0);
    expect(await effects()).toEqual([7]);
  });

  test('a worker that lost its lease cannot commit; the job runs elsewhere', async () => {
    const queue = freshQueue();
    const outcome: string[] = [];
    let stall = true;
    let ranElsewhere: () => void = () => undefined;
    const elsewhere = new Promise<void>((resolve) => {
      ranElsewhere = resolve;
    });
    // The stalled worker cannot renew: its process hangs, as it were.
    const handler = async (job: Job<Payload>) => {
      if (stall) {
        stall = false;
        await sql`update kernel.work set due_at = now() - interval '1 s' where id = ${job.id}`.execute(
          db.database.sql,
        );
        await elsewhere;
        try {
          await store(job);
        } catch (error) {
          outcome.push(error instanceof LeaseLost ? 'lease lost' : String(error));
          throw error;
        }
        return;
      }
      await store(job);
      outcome.push(`attempt ${job.attempt}`);
      ranElsewhere();
    };
    work(queue, handler, { pollSeconds: 0.2 });
    await put(queue, { n: 1 });
    await expect.poll(() => outcome).toEqual(['attempt 2', 'lease lost']);
    expect(await effects()).toEqual([1]);
    await expect.poll(() => waiting(queue)).toBe(0);
  });

  test('the signal is aborted when the lease is lost', async () => {
    const queue = freshQueue();
    let aborted: unknown;
    work(
      queue,
      async (job) => {
        await sql`update kernel.work set lease = gen_random_uuid() where id = ${job.id}`.execute(
          db.database.sql,
        );
        await new Promise<void>((resolve) => job.signal.addEventListener('abort', () => resolve()));
        aborted = job.signal.reason;
      },
      { leaseSeconds: 1 },
    );
    await put(queue, { n: 1 });
    await expect.poll(() => aborted).toBeInstanceOf(LeaseLost);
  });

  test('a long job keeps its lease', async () => {
    const queue = freshQueue();
    const dueAt = async (id: string) => {
      const { rows } = await sql<{ due_at: Date }>`select due_at from kernel.work where id = ${id}`.execute(
        db.database.sql,
      );
      return rows[0]?.due_at.getTime() ?? 0;
    };
    let runs = 0;
    // A busy machine may renew late, so the lease is long; it is renewed after a third of it.
    const handler = async ({ id }: Job<Payload>) => {
      runs += 1;
      const first = await dueAt(id);
      await expect.poll(() => dueAt(id)).toBeGreaterThan(first);
      const second = await dueAt(id);
      await expect.poll(() => dueAt(id)).toBeGreaterThan(second);
    };
    work(queue, handler, { leaseSeconds: 3, pollSeconds: 0.2 });
    work(queue, handler, { leaseSeconds: 3, pollSeconds: 0.2 });
    await put(queue, { n: 1 });
    await expect.poll(() => runs).toBe(1);
    await expect.poll(() => waiting(queue)).toBe(0);
    expect(runs).toBe(1);
  });

  test('stop lets the jobs in hand end and leaves the others waiting', async () => {
    const queue = freshQueue();
    let begun = 0;
    let ended = 0;
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const worker = work(
      queue,
      async () => {
        begun += 1;
        await released;
        ended += 1;
      },
      { concurrency: 2 },
    );
    await put(queue, { n: 1 }, { n: 2 }, { n: 3 }, { n: 4 });
    await expect.poll(() => begun).toBe(2);
    const stopped = worker.stop();
    release();
    await stopped;
    expect(ended).toBe(2);
    expect(await waiting(queue)).toBe(2);
  });

  test('losing the database for a moment loses no job', async () => {
    const queue = freshQueue();
    let ran = 0;
    work(queue, async () => {
      ran += 1;
      await pause(5);
    });
    await put(queue, ...Array.from({ length: 200 }, (_, n) => ({ n })));
    // From a pool with one connection, which is in use: any other pool hands out connections that were just ended.
    const operator = await db.another();
    for (let round = 0; round < 5; round++) {
      await pause(20);
      await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where pid <> pg_backend_pid() and datname = current_database()`.execute(operator.database.sql);
    }
    await expect.poll(() => waiting(queue)).toBe(0);
    expect(ran).toBeGreaterThanOrEqual(200);
  });
});

describe('startLoop', () => {
  function loop(
    name: string,
    step: () => Promise<'more' | 'idle'>,
    options: { leaderOnly?: boolean; pair?: TestPair } = {},
  ) {
    const daemon = startLoop(
      {
        ...(options.pair ?? db),
        log: db.log,
        name,
        everySeconds: 60,
        ...(options.leaderOnly ? { leaderOnly: true } : {}),
      },
      step,
    );
    daemons.push(daemon);
    return daemon;
  }
  type TestPair = Pick<TestDatabase, 'database' | 'wakeUps'>;

  test('steps while there is more, then sleeps until it is woken', async () => {
    let listening = false;
    db.wakeUps.on('test.count', () => {
      listening = true;
    });
    // Whoever begins to listen is called once: that is over before the loop begins.
    await expect.poll(() => listening).toBe(true);
    let steps = 0;
    const daemon = loop('test.count', async () => {
      steps += 1;
      return steps % 5 === 0 ? 'idle' : 'more';
    });
    await expect.poll(() => steps).toBe(5);
    await db.database.transaction(async (tx) => db.wakeUps.wake(tx, 'test.count'));
    await expect.poll(() => steps).toBe(10);
    daemon.nudge();
    await expect.poll(() => steps).toBe(15);
  });

  test('a step that fails is tried again', async () => {
    let steps = 0;
    loop('test.failing', async () => {
      steps += 1;
      if (steps < 3) throw new Error('not yet');
      return 'idle';
    });
    await expect.poll(() => steps).toBeGreaterThanOrEqual(3);
  });

  test('leaderOnly: one of two processes steps; the other takes over when it stops', async () => {
    const other = await db.another();
    const steps = { first: 0, second: 0 };
    const step = (who: keyof typeof steps) => {
      steps[who] += 1;
      return 'idle' as const;
    };
    const first = loop('test.lead', async () => step('first'), { leaderOnly: true });
    await expect.poll(() => steps.first).toBeGreaterThan(0);
    loop('test.lead', async () => step('second'), { leaderOnly: true, pair: other });
    await pause(300);
    expect(steps.second).toBe(0);
    await first.stop();
    await expect.poll(() => steps.second).toBeGreaterThan(0);
  });
});
