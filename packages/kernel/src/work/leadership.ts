import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import type { Database, NoTables } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** Says which of several processes leads, per name. A lead ends with its connection, so also with its process. */
export interface Leadership {
  /** Whether this process leads now; tries to become the leader when nobody is. */
  leads(name: string): Promise<boolean>;
  resign(name: string): Promise<void>;
}

interface Session {
  readonly connection: Kysely<NoTables>;
  readonly held: Set<string>;
  end(): void;
}

const ofDatabase = new WeakMap<Database, Leadership>();

/**
 * Session advisory locks, all on one connection of the process's pool, which is kept as long as anything is led. Each
 * question is answered by the server, so a lost connection is noticed before the next step of a loop.
 */
export function leadershipOf(database: Database, log: Logger): Leadership {
  const known = ofDatabase.get(database);
  if (known !== undefined) return known;
  const made = createLeadership(database, log);
  ofDatabase.set(database, made);
  return made;
}

function createLeadership(database: Database, log: Logger): Leadership {
  let session: Session | undefined;
  /** Questions go one after the other: they share a connection and its set of locks. */
  let queue: Promise<unknown> = Promise.resolve();

  async function openSession(): Promise<Session> {
    return await new Promise((resolve, reject) => {
      const holding = database.sql.connection().execute(
        async (connection) =>
          await new Promise<void>((end) => {
            resolve({ connection, held: new Set(), end });
          }),
      );
      holding.catch(reject);
    });
  }

  async function inTurn<Result>(question: () => Promise<Result>): Promise<Result> {
    const answer = queue.then(question, question);
    queue = answer.catch(() => undefined);
    return await answer;
  }

  async function ask(name: string): Promise<boolean> {
    try {
      session ??= await openSession();
      // Taking a lock that the session has already succeeds and would have to be given back as often.
      const statement = session.held.has(name)
        ? sql<{ leads: boolean }>`select true as leads`
        : sql<{
            leads: boolean;
          }>`select pg_try_advisory_lock(hashtextextended(${`weft leader ${name}`}, 0)) as leads`;
      const { rows } = await statement.execute(session.connection);
      if (rows[0]?.leads === true) session.held.add(name);
      else if (session.held.size === 0) await close();
      return rows[0]?.leads === true;
    } catch (error) {
      log.debug({ reason: describeError(error) }, 'leadership is lost with its connection');
      await close();
      return false;
    }
  }

  async function letGo(name: string): Promise<void> {
    const current = session;
    if (current === undefined || !current.held.delete(name)) return;
    try {
      await sql`select pg_advisory_unlock(hashtextextended(${`weft leader ${name}`}, 0))`.execute(
        current.connection,
      );
    } catch (error) {
      log.debug({ reason: describeError(error) }, 'the lock was gone with its connection');
      return await close();
    }
    if (current.held.size === 0) await close();
  }

  /** The connection goes back to the pool, where a lock left on it would outlive the lead. */
  async function close(): Promise<void> {
    const current = session;
    session = undefined;
    if (current === undefined) return;
    try {
      await sql`select pg_advisory_unlock_all()`.execute(current.connection);
    } catch (error) {
      log.debug({ reason: describeError(error) }, 'the connection is broken, and its locks are gone with it');
    }
    current.end();
  }

  return {
    leads: async (name) => await inTurn(() => ask(name)),
    resign: async (name) => await inTurn(() => letGo(name)),
  };
}
