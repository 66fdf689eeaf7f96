import type { AnyTx, Database, Sql } from '@weft/kernel/database';
import { sql } from 'kysely';

export type StageState = 'SUBMITTED' | 'STARTED' | 'COMPLETED' | 'FAILED' | 'CANCELLED';

/** One file of a request to bring files back to disk. */
export interface StageFile {
  /** As it was asked for, repeated slashes collapsed: clients look for their own spelling. */
  readonly asked: string;
  /** Plain. */
  readonly path: string;
  readonly state: StageState;
  /** How long it shall stay on disk. */
  readonly diskSeconds: number;
  readonly startedAt?: Date;
  readonly finishedAt?: Date;
  readonly error?: string;
}

export interface StageRequest {
  readonly id: string;
  readonly createdAt: Date;
  readonly startedAt: Date | undefined;
  readonly completedAt: Date | undefined;
  readonly files: readonly StageFile[];
}

/**
 * Requests of tape's REST interface and the pins that they leave. Files go SUBMITTED → STARTED → COMPLETED or FAILED, or
 * CANCELLED from the first two (brief teapot 2.7).
 */
export interface StageRequests {
  create(
    tx: Sql,
    owner: { issuer: string; subject: string; account: string },
    files: readonly Omit<StageFile, 'startedAt' | 'finishedAt'>[],
  ): Promise<string>;
  /** Of the same local account, in multi-user mode. */
  find(id: string, account: string): Promise<StageRequest | undefined>;
  /** Unfinished files of the request come to nothing, and what it has pinned may go. */
  cancel(tx: Sql, id: string, paths: readonly string[]): Promise<void>;
  delete(tx: Sql, id: string): Promise<void>;
  /** @returns whether anybody still waits for the file. */
  start(tx: AnyTx, account: string, path: string): Promise<boolean>;
  /** How it ended for everybody who waits. */
  finish(tx: AnyTx, account: string, path: string, error?: string): Promise<void>;
  /** Takes the pins off: of one request, or of all that the caller has made. */
  release(
    tx: Sql,
    which: { id: string } | { issuer: string; subject: string; account: string },
    paths: readonly string[],
  ): Promise<void>;
  /** Until when somebody wants the file on disk; nothing: nobody does. */
  pinnedUntil(tx: AnyTx, account: string, path: string): Promise<Date | undefined>;
  /** Forgets requests that ended so long ago and pin nothing. */
  forgetOld(days: number): Promise<void>;
  count(): Promise<Readonly<Record<'SUBMITTED' | 'STARTED', number>>>;
}

interface FileRow {
  asked: string;
  path: string;
  state: StageState;
  disk_seconds: number;
  started_at: Date | null;
  finished_at: Date | null;
  error: string | null;
}

export function createStageRequests(database: Database, instance: string): StageRequests {
  /** A request is complete when none of its files is under way. */
  const settle = (tx: Sql | AnyTx, requests: ReturnType<typeof sql>) =>
    sql`
      update storage.stage_requests as request set completed_at = now()
      where request.instance = ${instance} and request.id in (${requests}) and completed_at is null
        and not exists (
          select from storage.stage_files as file
          where file.instance = ${instance} and file.request = request.id and file.state in ('SUBMITTED', 'STARTED'))`.execute(
      tx,
    );

  return {
    async create(tx, { issuer, subject, account }, files) {
      const done = files.every(({ state }) => state !== 'SUBMITTED');
      const { rows } = await sql<{ id: string }>`
        insert into storage.stage_requests (instance, issuer, subject, account, started_at, completed_at)
        values (${instance}, ${issuer}, ${subject}, ${account},
          ${done ? sql`now()` : null}, ${done ? sql`now()` : null})
        returning id::text`.execute(tx);
      const [row] = rows;
      if (!row) throw new Error('no row came back for a stage request');
      await sql`
        insert into storage.stage_files (instance, request, position, account, asked, path, state, disk_seconds,
          started_at, finished_at, pinned_until, error)
        select ${instance}, ${row.id}::uuid, position, ${account}, asked, path, state, disk_seconds,
          case when state <> 'SUBMITTED' then now() end, case when state <> 'SUBMITTED' then now() end,
          case when state = 'COMPLETED' then now() + make_interval(secs => disk_seconds) end, nullif(error, '')
        from unnest(
          ${files.map(({ asked }) => asked)}::text[],
          ${files.map(({ path }) => path)}::text[],
          ${files.map(({ state }) => state)}::text[],
          ${files.map(({ diskSeconds }) => diskSeconds)}::int[],
          ${files.map(({ error }) => error ?? '')}::text[]
        ) with ordinality as file (asked, path, state, disk_seconds, error, position)`.execute(tx);
      return row.id;
    },

    async find(id, account) {
      if (!isUuid(id)) return undefined;
      const { rows } = await sql<{
        id: string;
        created_at: Date;
        started_at: Date | null;
        completed_at: Date | null;
      }>`
        select id::text, created_at, started_at, completed_at from storage.stage_requests
        where instance = ${instance} and id = ${id}::uuid and account = ${account}`.execute(database.sql);
      const [request] = rows;
      if (!request) return undefined;
      const files = await sql<FileRow>`
        select asked, path, state, disk_seconds, started_at, finished_at, error from storage.stage_files
        where instance = ${instance} and request = ${id}::uuid order by position`.execute(database.sql);
      return {
        id: request.id,
        createdAt: request.created_at,
        startedAt: request.started_at ?? undefined,
        completedAt: request.completed_at ?? undefined,
        files: files.rows.map(toFile),
      };
    },

    async cancel(tx, id, paths) {
      await sql`
        update storage.stage_files set state = 'CANCELLED', finished_at = now()
        where instance = ${instance} and request = ${id}::uuid and path = any(${paths}) and state in ('SUBMITTED', 'STARTED')`.execute(
        tx,
      );
      await sql`
        update storage.stage_files set pinned_until = null
        where instance = ${instance} and request = ${id}::uuid and path = any(${paths})`.execute(tx);
      await settle(tx, sql`select ${id}::uuid`);
    },

    async delete(tx, id) {
      await sql`delete from storage.stage_requests where instance = ${instance} and id = ${id}::uuid`.execute(
        tx,
      );
    },

    async start(tx, account, path) {
      const { rows } = await sql`
        with begun as (
          update storage.stage_files set state = 'STARTED', started_at = coalesce(started_at, now())
          where instance = ${instance} and account = ${account} and path = ${path} and state in ('SUBMITTED', 'STARTED')
          returning request
        ), requests as (
          update storage.stage_requests set started_at = now()
          where instance = ${instance} and id in (select request from begun) and started_at is null
        )
        select from begun limit 1`.execute(tx);
      return rows.length > 0;
    },

    async finish(tx, account, path, error) {
      const { rows } = await sql<{ request: string }>`
        update storage.stage_files set finished_at = now(), error = ${error ?? null},
          state = ${error === undefined ? 'COMPLETED' : 'FAILED'},
          pinned_until = ${error === undefined ? sql`now() + make_interval(secs => disk_seconds)` : null}
        where instance = ${instance} and account = ${account} and path = ${path} and state in ('SUBMITTED', 'STARTED')
        returning request::text`.execute(tx);
      await settle(tx, sql`select unnest(${rows.map(({ request }) => request)}::uuid[])`);
    },

    async release(tx, which, paths) {
      const whose =
        'id' in which
          ? sql`request = ${which.id}::uuid`
          : sql`account = ${which.account} and request in (
              select id from storage.stage_requests
              where instance = ${instance} and issuer = ${which.issuer} and subject = ${which.subject})`;
      await sql`
        update storage.stage_files set pinned_until = null
        where instance = ${instance} and path = any(${paths}) and pinned_until is not null and ${whose}`.execute(
        tx,
      );
    },

    async pinnedUntil(tx, account, path) {
      const { rows } = await sql<{ until: Date | null }>`
        select max(case when state = 'COMPLETED' then pinned_until else now() + interval '1 minute' end) as until
        from storage.stage_files
        where instance = ${instance} and account = ${account} and path = ${path}
          and (pinned_until > now() or state in ('SUBMITTED', 'STARTED'))`.execute(tx);
      return rows[0]?.until ?? undefined;
    },

    async forgetOld(days) {
      await sql`
        delete from storage.stage_requests as request
        where instance = ${instance} and completed_at < now() - make_interval(days => ${days})
          and not exists (
            select from storage.stage_files as file
            where file.instance = ${instance} and file.request = request.id and pinned_until > now())`.execute(
        database.sql,
      );
    },

    async count() {
      const { rows } = await sql<{ submitted: number; started: number }>`
        select count(*) filter (where state = 'SUBMITTED')::int as submitted,
          count(*) filter (where state = 'STARTED')::int as started
        from storage.stage_files
        where instance = ${instance} and state in ('SUBMITTED', 'STARTED')`.execute(database.sql);
      const [{ submitted, started } = { submitted: 0, started: 0 }] = rows;
      return { SUBMITTED: submitted, STARTED: started };
    },
  };
}

function toFile(row: FileRow): StageFile {
  return {
    asked: row.asked,
    path: row.path,
    state: row.state,
    diskSeconds: row.disk_seconds,
    ...(row.started_at ? { startedAt: row.started_at } : {}),
    ...(row.finished_at ? { finishedAt: row.finished_at } : {}),
    ...(row.error === null ? {} : { error: row.error }),
  };
}

function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text);
}
