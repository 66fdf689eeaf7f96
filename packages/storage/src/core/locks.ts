import { randomUUID } from 'node:crypto';
import type { AnyTx, Database, Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { StorageTables } from '../db/schema.ts';
import { plainPath, type Segments } from './resource-path.ts';
import { BELIEF_MILLISECONDS, createSharedAnswer, untilBelieved } from './shared-answer.ts';
import { requireStorablePath } from './storable-path.ts';

/** A write lock (RFC 4918 section 6). */
export interface Lock {
  /** `urn:uuid:…` */
  readonly token: string;
  readonly path: string;
  /** Depth infinity: it covers everything below, too. */
  readonly deep: boolean;
  readonly shared: boolean;
  /** The `owner` element that the client gave, as XML; empty when it gave none. */
  readonly owner: string;
  /** Who took it. */
  readonly principal: string;
  readonly timeoutSeconds: number;
  readonly expiresAt: Date;
}

export type NewLock = Omit<Lock, 'token' | 'expiresAt'>;

/** What a request is about to change, for the question which locks stand in its way. */
export interface AffectedResource {
  readonly path: Segments;
  /** Everything below is affected as well: DELETE and MOVE of collections, and overwriting them. */
  readonly tree?: boolean;
  /** The name comes into being or goes away, which changes its collection. */
  readonly membership?: boolean;
}

/** Shared locks of one path are read with each request there. */
const MAXIMUM_AT_ONE_PATH = 100;
const MAXIMUM_OF_ONE_PRINCIPAL = 10_000;

export interface Locks {
  /** Whether anybody holds any; believed for a moment. */
  any(): Promise<boolean>;
  /** Locks that cover a resource, and with `below` those of everything under it. */
  find(path: Segments, options?: { below?: boolean }): Promise<readonly Lock[]>;
  /** @throws {WeftError} `conflict`, code `locked`. */
  acquire(path: Segments, lock: NewLock): Promise<Lock>;
  /** Nothing when it is gone. */
  refresh(token: string, timeoutSeconds: number): Promise<Lock | undefined>;
  release(token: string): Promise<void>;
  /** Locks of what goes away go with it, in the transaction that tells of it; nothing when there are none. */
  forgetting(path: Segments): Promise<((tx: AnyTx) => Promise<void>) | undefined>;
  /** @throws {WeftError} `conflict`, code `locked`, when a lock is in the way whose token was not submitted. */
  requireTokens(
    affected: readonly AffectedResource[],
    submitted: ReadonlySet<string>,
    principal: string,
  ): Promise<void>;
}

/**
 * Locks in PostgreSQL: they survive a restart and hold for every process that serves the instance. Those that have
 * expired count as gone and are removed when the next lock is taken.
 */
export function createLocks(database: Database, instance: string): Locks {
  const tables = database.withTables<StorageTables>();

  /** Most of the time nobody holds any lock; then requests at the same time share one short question. */
  const anyLocks = createSharedAnswer(async () => {
    const [row] = await database.prepared(
      'storage.any-locks',
      sql<{ any: boolean }>`
        select exists (select from storage.locks where instance = ${instance} and expires_at > now()) as any`,
    );
    return row?.any !== false;
  }, BELIEF_MILLISECONDS);

  async function holdsMany(tx: AnyTx, principal: string): Promise<boolean> {
    const { rows } = await sql`
      select from storage.locks where instance = ${instance} and principal = ${principal}
      offset ${MAXIMUM_OF_ONE_PRINCIPAL - 1} limit 1`.execute(tx);
    return rows.length > 0;
  }

  async function acquire(path: Segments, lock: NewLock): Promise<Lock> {
    requireStorablePath(lock.path);
    const token = `urn:uuid:${randomUUID()}`;
    const taken = await database.transaction(async (tx) => {
      // One at a time, so that two exclusive locks cannot both find the path free.
      await sql`select pg_advisory_xact_lock(hashtextextended(${`storage.locks:${instance}`}, 0))`.execute(
        tx,
      );
      await sql`delete from storage.locks where instance = ${instance} and expires_at <= now()`.execute(tx);
      const standing = await findLocks(tx, instance, path, lock.deep);
      if (standing.some(({ shared }) => !shared || !lock.shared)) throw lockedError(lock.path);
      if (standing.length >= MAXIMUM_AT_ONE_PATH || (await holdsMany(tx, lock.principal)))
        throw new WeftError('exhausted', 'too-many-locks', 'There are too many locks already.');
      const { rows } = await sql<LockRow>`
        insert into storage.locks (instance, token, path, deep, shared, owner, principal, timeout_seconds, expires_at)
        values (${instance}, ${token}, ${lock.path}, ${lock.deep}, ${lock.shared}, ${lock.owner}, ${lock.principal},
          ${lock.timeoutSeconds}, now() + make_interval(secs => ${lock.timeoutSeconds}))
        returning *`.execute(tx);
      const [row] = rows;
      if (!row) throw new Error('An insert returned no row.');
      return toLock(row);
    });
    await untilBelieved();
    return taken;
  }

  return {
    any: anyLocks,
    find: (path, { below = false } = {}) => findLocks(database.sql, instance, path, below),
    acquire,
    async refresh(token, timeoutSeconds) {
      const { rows } = await sql<LockRow>`
        update storage.locks
        set timeout_seconds = ${timeoutSeconds}, expires_at = now() + make_interval(secs => ${timeoutSeconds})
        where instance = ${instance} and token = ${token} and expires_at > now()
        returning *`.execute(database.sql);
      return rows[0] && toLock(rows[0]);
    },
    async release(token) {
      await tables
        .deleteFrom('storage.locks')
        .where('instance', '=', instance)
        .where('token', '=', token)
        .execute();
    },
    async forgetting(path) {
      if (!(await anyLocks())) return undefined;
      const plain = plainPath(path);
      return async (tx) => {
        await sql`delete from storage.locks
          where instance = ${instance} and (path = ${plain} or path like ${likeBelow(plain)})`.execute(tx);
      };
    },
    async requireTokens(affected, submitted, principal) {
      if (!(await anyLocks())) return;
      for (const { path, tree = false, membership = false } of affected) {
        const locks = await findLocks(database.sql, instance, path, tree);
        if (membership && path.length > 0)
          locks.push(...(await findLocks(database.sql, instance, path.slice(0, -1), false)));
        requireForEach(locks, submitted, principal);
      }
    },
  };
}

interface LockRow {
  token: string;
  path: string;
  deep: boolean;
  shared: boolean;
  owner: string;
  principal: string;
  timeout_seconds: number;
  expires_at: Date;
}

async function findLocks(connection: Sql, instance: string, path: Segments, below: boolean): Promise<Lock[]> {
  const ancestors = path.map((_, depth) => plainPath(path.slice(0, depth)));
  const plain = plainPath(path);
  const { rows } = await sql<LockRow>`
    select * from storage.locks
    where instance = ${instance} and expires_at > now()
      and (path = ${plain} or (deep and path = any(${ancestors})) or (${below} and path like ${likeBelow(plain)}))
    `.execute(connection);
  return rows.map(toLock);
}

/** Shared locks on one path need the token of one of them; every locked path needs its own. */
function requireForEach(locks: readonly Lock[], submitted: ReadonlySet<string>, principal: string): void {
  for (const [path, group] of Map.groupBy(locks, (lock) => lock.path)) {
    if (!group.some((lock) => submitted.has(lock.token) && lock.principal === principal))
      throw lockedError(path);
  }
}

function lockedError(path: string): WeftError {
  return new WeftError('conflict', 'locked', `${path} is locked.`, { details: { path } });
}

/** A pattern for what lies below a plain path. */
function likeBelow(plain: string): string {
  return `${plain === '/' ? '' : plain.replace(/[\\%_]/g, '\\$&')}/_%`;
}

function toLock(row: LockRow): Lock {
  return {
    token: row.token,
    path: row.path,
    deep: row.deep,
    shared: row.shared,
    owner: row.owner,
    principal: row.principal,
    timeoutSeconds: row.timeout_seconds,
    expiresAt: row.expires_at,
  };
}
