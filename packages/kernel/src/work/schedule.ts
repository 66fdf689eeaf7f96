import { Cron } from 'croner';
import { sql } from 'kysely';
import type { Daemon } from '../component/daemon.ts';
import type { AnyTx, Database, WakeUps } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createAlarm } from './alarm.ts';
import { enqueueOne } from './enqueue.ts';
import type { Queue } from './types.ts';

/** When a schedule is due: at fixed intervals, or by a cron pattern in a time zone (default UTC). */
export type ScheduleRule =
  | { readonly everySeconds: number }
  | { readonly cron: string; readonly timeZone?: string };

export interface ScheduleOptions<Payload> {
  database: Database;
  wakeUps: WakeUps;
  log: Logger;
  /** `accounting.summarise-daily`; the same in every process. */
  name: string;
  rule: ScheduleRule;
  queue: Queue<Payload>;
  payload: Payload;
}

/** The longest time until the table is looked at again; another process may have begun the schedule anew. */
const LONGEST_SLEEP_MILLISECONDS = 60_000;
const LONGEST_PAUSE_MILLISECONDS = 30_000;

/**
 * Enqueues a job each time the rule is due. Any number of processes may run the same schedule: its row says when it is
 * due next, and whoever finds it due enqueues and moves the time in one transaction, so each time fires once. Times that
 * passed while nobody ran fire once together. A job that still waits is not enqueued a second time. The database's clock
 * decides.
 *
 * @example
 * startSchedule({ …, name: 'accounting.summarise', rule: { cron: '15 3 * * *' }, queue: summarise, payload: {} });
 * @throws {RangeError} when the rule has no next time: an interval that is not positive, a pattern that is not cron.
 */
export function startSchedule<Payload>(options: ScheduleOptions<Payload>): Daemon {
  const { database, name, rule } = options;
  const log = options.log.child({ schedule: name });
  nextTime(rule, new Date());
  const alarm = createAlarm();
  let stopping = false;
  const running = run();

  async function run(): Promise<void> {
    let pause = 100;
    while (!stopping) {
      try {
        const due = await fireWhenDue(options);
        pause = 100;
        await alarm.sleep(Math.min(due, LONGEST_SLEEP_MILLISECONDS));
      } catch (error) {
        log.warn({ reason: describeError(error) }, 'the schedule cannot be looked at now');
        await alarm.sleep(pause * (0.5 + Math.random() / 2));
        pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS);
      }
    }
  }

  return {
    nudge: alarm.ring,
    async stop() {
      stopping = true;
      alarm.ring();
      await running;
    },
  };

  /** Answers in how many milliseconds the schedule is due next. */
  async function fireWhenDue({ wakeUps, queue, payload }: ScheduleOptions<Payload>): Promise<number> {
    return await database.transaction(async (tx) => {
      const now = await ensureSchedule(tx, name, rule);
      const { rows } = await sql<{ next_at: Date }>`
        select next_at from kernel.schedules where name = ${name} for update`.execute(tx);
      const dueAt = rows[0]?.next_at ?? nextTime(rule, now);
      // Asked again under the lock: another process may have fired while this one waited for it.
      if (dueAt > now) return dueAt.getTime() - now.getTime();
      const nextAt = nextTime(rule, now, dueAt);
      await enqueueOne(tx, wakeUps, queue, payload, { key: `schedule ${name}` });
      await sql`update kernel.schedules set next_at = ${nextAt}, fired_at = ${now} where name = ${name}`.execute(
        tx,
      );
      return nextAt.getTime() - now.getTime();
    });
  }
}

/** Makes the schedule's row, or begins it anew when the rule is another one. Returns the database's time. */
async function ensureSchedule(tx: AnyTx, name: string, rule: ScheduleRule): Promise<Date> {
  const clock = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(tx);
  const now = clock.rows[0]?.now ?? new Date();
  const known =
    await sql`select from kernel.schedules where name = ${name} and rule = ${printRule(rule)}`.execute(tx);
  if (known.rows.length > 0) return now;
  await sql`insert into kernel.schedules (name, rule, next_at)
    values (${name}, ${printRule(rule)}, ${nextTime(rule, now)})
    on conflict (name) do update set rule = excluded.rule, next_at = excluded.next_at
    where schedules.rule <> excluded.rule`.execute(tx);
  return now;
}

function printRule(rule: ScheduleRule): string {
  return 'cron' in rule ? `cron ${rule.cron} ${rule.timeZone ?? 'UTC'}` : `every ${rule.everySeconds} s`;
}

/** The first time after `now`; for an interval in step with `previous`, so that it does not drift. */
export function nextTime(rule: ScheduleRule, now: Date, previous: Date = now): Date {
  if ('cron' in rule) {
    const next = parseCron(rule).nextRun(now);
    if (next === null) throw new RangeError(`The pattern "${rule.cron}" is never due.`);
    return next;
  }
  const milliseconds = rule.everySeconds * 1_000;
  if (!(milliseconds > 0)) throw new RangeError(`${rule.everySeconds} s is not an interval.`);
  const passed = Math.floor((now.getTime() - previous.getTime()) / milliseconds);
  return new Date(previous.getTime() + (passed + 1) * milliseconds);
}

function parseCron(rule: { readonly cron: string; readonly timeZone?: string }): Cron {
  try {
    return new Cron(rule.cron, { paused: true, timezone: rule.timeZone ?? 'UTC' });
  } catch (cause) {
    throw new RangeError(`"${rule.cron}" is not a cron pattern: ${describeError(cause)}`, { cause });
  }
}
