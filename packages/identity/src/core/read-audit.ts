import { setTimeout } from 'node:timers/promises';
import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { ANNOUNCED_LOCK_CLASS } from './audit.ts';

/** A row of the audit log as its readers see it. */
export interface AuditRow {
  /** The cursor after it. */
  readonly seq: number;
  readonly at: Date;
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly decision: 'granted' | 'refused';
  readonly reason: string | null;
  readonly request_id: string | null;
  readonly address: string | null;
}

/** The audit log of a site or of an issuer after a cursor, oldest first, as far as it is settled. */
export async function readAudit(
  database: Sql<IdentityTables>,
  of: { site: string } | { realm: string },
  after: string,
  limit: number,
): Promise<AuditRow[]> {
  const whose = 'site' in of ? sql`site = ${of.site}` : sql`realm = ${of.realm}`;
  const through = await settledThrough(database);
  const { rows } = await sql<AuditRow>`
    select seq, at, actor, action, object, decision, reason, request_id, address
      from identity.audit
     where ${whose} and seq > ${after}::bigint and seq <= ${through}::bigint
     order by seq limit ${limit}`.execute(database);
  return rows;
}

/** A statement that writes the log takes milliseconds; one that takes longer than this hangs. */
const PATIENCE_MILLISECONDS = 2000;
const LONGEST_PAUSE_MILLISECONDS = 50;

/**
 * The highest number below which nothing can appear any more.
 *
 * Numbers are drawn when a row is written, but become visible when its transaction commits, so a reader may see 7 while 6
 * is still to come; a cursor at 7 would then skip it. Every statement that writes the log holds a lock on the table before it
 * draws a number, and keeps it until its transaction ends. So: read what the sequence has drawn, then who holds that lock; when
 * those have ended, everything up to that number is visible to the next statement, or rolled back. Single statements are
 * waited for. Transactions of several, which may take long, have announced from which number on they write (`recordAudit`): the
 * log is given out up to there. Nothing else holds a reader up: no other table's, component's or database's transactions.
 *
 * @returns 0 while a single statement hangs: nothing can be said of any row then.
 */
export async function settledThrough(
  database: Sql<IdentityTables>,
  patienceMilliseconds = PATIENCE_MILLISECONDS,
): Promise<number> {
  const drawn = await sql<{ value: number }>`
    select case when is_called then last_value else 0 end as value from identity.audit_seq_seq`.execute(
    database,
  );
  let writers = await findWriters(database);
  const isAlone = ({ announced }: Writer) => announced === null;
  const end = Date.now() + patienceMilliseconds;
  for (let pause = 1; writers.some(isAlone); pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS)) {
    if (Date.now() >= end) return 0;
    await setTimeout(pause);
    const writing = new Set((await findWriters(database)).map(({ id }) => id));
    writers = writers.filter(({ id }) => writing.has(id));
  }
  return Math.min(drawn.rows[0]?.value ?? 0, ...writers.map(({ announced }) => announced ?? 0));
}

/** A transaction that has written the audit log, or is about to. */
interface Writer {
  /** Of the transaction; never used again. */
  readonly id: string;
  /** It writes rows above this number only; `null`: it did not say. */
  readonly announced: number | null;
}

async function findWriters(database: Sql<IdentityTables>): Promise<readonly Writer[]> {
  const { rows } = await sql<Writer>`
    with held as materialized (
      select * from pg_locks where database = (select oid from pg_database where datname = current_database())
    )
    select writing.virtualtransaction as id, min((said.classid::bigint & 65535) << 32 | said.objid::bigint) as announced
      from held writing
      left join held said on said.virtualtransaction = writing.virtualtransaction and said.locktype = 'advisory'
       and said.objsubid = 1 and said.classid::bigint >> 16 = ${ANNOUNCED_LOCK_CLASS}
     where writing.locktype = 'relation' and writing.relation = 'identity.audit'::regclass
       and writing.mode = 'RowExclusiveLock' and writing.granted
     group by writing.virtualtransaction`.execute(database);
  return rows;
}
