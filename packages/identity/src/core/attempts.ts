import { hash } from 'node:crypto';
import type { Database, WakeUps } from '@weft/kernel/database';
import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import { sql } from 'kysely';

/** So many within the window, then nothing until as long after the last one. */
export interface AttemptLimit {
  /** Tells limits apart; never changes. */
  readonly name: string;
  readonly allowed: number;
  readonly windowSeconds: number;
}

/** What is limited: an address, a client at an address, a name. */
export type Attempt = readonly [limit: AttemptLimit, key: string];

/**
 * Counts attempts over all processes. Only failures cost a statement: who must wait is kept in memory too, and told to every
 * process at once, so that whoever has done nothing wrong is let through without asking the database.
 */
export interface Attempts {
  /** Seconds until this may be tried again, as far as this process has heard; 0: now. */
  waitSeconds(...attempt: Attempt): number;
  /** The longest wait of several, asked of the database: for what is dear enough. */
  askWaitSeconds(...attempts: readonly Attempt[]): Promise<number>;
  /** Counts one for each; answers the seconds to wait if one of them was one too many. */
  count(...attempts: readonly Attempt[]): Promise<number>;
  /** Takes a count back: the attempt was a good one. */
  forgive(...attempts: readonly Attempt[]): Promise<void>;
  /** Remembers a key under a name, for everybody; resolves when it is durable. */
  remember(name: string, key: string, seconds: number): Promise<void>;
  isRemembered(name: string, key: string): Promise<boolean>;
}

const BLOCKED = 'identity.attempts';
/** Beyond this the keys that were blocked longest ago are left to the database, so that inventing keys costs no memory. */
const KEYS = 10_000;

interface Counted {
  readonly hash: string;
  readonly count: number;
  readonly allowed: number | null;
  readonly blocked: boolean;
  readonly seconds: number;
}

export function createAttempts({
  database,
  wakeUps,
  log,
}: {
  database: Database;
  wakeUps: WakeUps;
  log: Logger;
}): Attempts {
  /** Until when, in milliseconds since 1970 by this machine's clock. */
  const blocked = new Map<string, number>();

  function block({ hash: key, seconds }: Pick<Counted, 'hash' | 'seconds'>): void {
    blocked.delete(key);
    blocked.set(key, Date.now() + seconds * 1000);
    const oldest = blocked.size > KEYS ? blocked.keys().next() : undefined;
    if (oldest !== undefined && !oldest.done) blocked.delete(oldest.value);
  }

  async function readBlocked(): Promise<void> {
    const { rows } = await sql<Pick<Counted, 'hash' | 'seconds'>>`
      select encode(hash, 'hex') as hash, ${SECONDS_LEFT} as seconds from identity.attempts
       where blocked and expires_at > now() order by expires_at limit ${KEYS}`.execute(database.sql);
    for (const row of rows) block(row);
  }

  // Also called when the process begins to listen.
  wakeUps.on(BLOCKED, () => {
    readBlocked().catch((error: unknown) =>
      log.warn({ reason: describeError(error) }, 'who must wait cannot be read now'),
    );
  });

  async function upsert(
    rows: readonly { hash: string; allowed: number | null; seconds: number }[],
  ): Promise<readonly Counted[]> {
    // In one order, so that two such statements never wait for each other.
    const counted = await sql<Counted>`
      insert into identity.attempts as known (hash, allowed, count, expires_at)
      select decode(hash, 'hex'), allowed, 1, now() + make_interval(secs => seconds)
        from json_to_recordset(${JSON.stringify(rows)}::json) as given (hash text, allowed int, seconds float8)
       order by hash
      on conflict (hash) do update set
        allowed = excluded.allowed,
        count = case when known.expires_at > now() then known.count + 1 else 1 end,
        expires_at = case when known.expires_at > now() and known.count + 1 < excluded.allowed
                          then known.expires_at else excluded.expires_at end
      returning encode(hash, 'hex') as hash, count, allowed, blocked, ${SECONDS_LEFT} as seconds`.execute(
      database.sql,
    );
    return counted.rows;
  }

  return {
    waitSeconds({ name }, key) {
      if (blocked.size === 0) return 0;
      const until = blocked.get(hashOf(name, key));
      return until === undefined ? 0 : Math.max(0, Math.ceil((until - Date.now()) / 1000));
    },
    async askWaitSeconds(...attempts) {
      const hashes = attempts.map(([{ name }, key]) => hashOf(name, key));
      const { rows } = await sql<{ seconds: number | null }>`
        select max(${SECONDS_LEFT}) as seconds from identity.attempts
         where hash in (select decode(key, 'hex') from unnest(${hashes}::text[]) key)
           and blocked and expires_at > now()`.execute(database.sql);
      return Math.ceil(rows[0]?.seconds ?? 0);
    },
    async count(...attempts) {
      const counted = await upsert(
        attempts.map(([{ name, allowed, windowSeconds }, key]) => ({
          ...{ hash: hashOf(name, key), allowed, seconds: windowSeconds },
        })),
      );
      for (const row of counted) if (row.blocked) block(row);
      if (counted.some(({ count, allowed }) => count === allowed)) wakeUps.wakeNow(BLOCKED);
      const tooMany = counted.filter(({ count, allowed }) => allowed !== null && count > allowed);
      return Math.ceil(Math.max(0, ...tooMany.map(({ seconds }) => seconds)));
    },
    async forgive(...attempts) {
      const hashes = attempts.map(([{ name }, key]) => hashOf(name, key));
      await sql`update identity.attempts set count = greatest(count - 1, 0) where hash = any(array(
          select hash from identity.attempts
           where hash in (select decode(key, 'hex') from unnest(${hashes}::text[]) key)
           order by hash for no key update))`.execute(database.sql);
    },
    async remember(name, key, seconds) {
      await upsert([{ hash: hashOf(name, key), allowed: null, seconds }]);
    },
    async isRemembered(name, key) {
      const { rows } = await sql`select from identity.attempts
        where hash = decode(${hashOf(name, key)}, 'hex') and expires_at > now()`.execute(database.sql);
      return rows.length > 0;
    },
  };
}

const SECONDS_LEFT = sql`extract(epoch from expires_at - now())::float8`;

function hashOf(name: string, key: string): string {
  return hash('sha256', `${name} ${key}`);
}
