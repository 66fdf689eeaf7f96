import { setImmediate, setTimeout } from 'node:timers/promises';
import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';

/** Where a request came from; stands in every audit row that it causes. */
export interface RequestOrigin {
  readonly requestId: string;
  readonly address: string;
}

export interface AuditEntry {
  realm: string | null;
  /** Of an action of account linking. */
  site?: string;
  /** Client id, user name, or `configuration`. */
  actor: string;
  /** `token.issue`, `token.revoke`, `mapping.look-up`, `key.rotate`, … */
  action: string;
  /** What it was done to: `sub`, a link, a key. Never a credential. */
  object: string;
  decision: 'granted' | 'refused';
  /** The code of a refusal, or what was granted. */
  reason?: string;
  origin?: RequestOrigin;
}

/** The row of a client that a decision was made on. */
export interface DecidedOn {
  readonly id: string;
  /** `Client.version` */
  readonly version: string;
}

interface ConditionalEntry {
  readonly entry: AuditEntry;
  readonly decidedOn?: DecidedOn | undefined;
}

/** Marks the advisory locks of transactions that write the log; the low 48 bits hold the number above which they do. */
export const ANNOUNCED_LOCK_CLASS = 0x4944;

/**
 * Appends to the audit log; nothing ever changes or removes a row before its retention ends. For transactions that do
 * more than this: they announce from which number on they write, so that readers need not wait for their end.
 */
export async function recordAudit(
  database: Sql<IdentityTables>,
  ...entries: readonly AuditEntry[]
): Promise<void> {
  if (entries.length > 0)
    await append(
      database,
      entries.map((entry) => ({ entry })),
      { announce: true },
    );
}

/** One row, once the lock is held: so what is joined with it has no row to number before. Read by `read-audit.ts`. */
const ANNOUNCEMENT = sql`announced as materialized (
      select pg_advisory_xact_lock_shared(
          ${sql.lit(ANNOUNCED_LOCK_CLASS)}::bigint << 48 | case when is_called then last_value else 0 end)
        from identity.audit_seq_seq
    ),`;

/** Writes audit rows of many requests together. */
export interface AuditLog {
  /** Resolves when the row is durable, so no answer leaves before it. */
  record(entry: AuditEntry): Promise<void>;
  /**
   * The same, but only if the client's row is still the one that the decision was made on; answers whether it was. So a
   * client may be decided on from memory and yet is never served after a change, in whatever process that was made.
   */
  recordIfUnchanged(entry: AuditEntry, decidedOn: DecidedOn): Promise<boolean>;
}

/** Rows of one statement at most. */
const BATCH = 500;
/**
 * A commit costs a millisecond, whatever it carries (measured: 740 µs of processor a row alone, 160 in fours, 54 in
 * sixteens, 30 in thirty-twos). So under load rows are gathered, for as long as every millisecond brings more.
 */
const GATHER_MILLISECONDS = 2;
const ENOUGH = 16;
/** While one statement waits for the disk, the next one may fill up and start. */
const STATEMENTS_AT_ONCE = 2;

interface Waiting extends ConditionalEntry {
  resolve(written: boolean): void;
  reject(error: unknown): void;
}

/** Entries that come while statements are under way go with the next one: the rows of a hundred requests cost one commit. */
export function createAuditLog(database: Sql<IdentityTables>): AuditLog {
  let waiting: Waiting[] = [];
  let writing = 0;

  async function write(): Promise<void> {
    writing += 1;
    // Requests that are being read in this turn of the event loop come along.
    await setImmediate();
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      waiting = waiting.slice(BATCH);
      try {
        const written = await append(database, batch);
        for (const [index, { resolve }] of batch.entries()) resolve(written.has(index));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      if (batch.length > 1) await gather();
    }
    writing -= 1;
  }

  async function gather(): Promise<void> {
    let before = -1;
    for (let waited = 0; waited < GATHER_MILLISECONDS; waited++) {
      if (waiting.length === before || waiting.length >= ENOUGH) return;
      before = waiting.length;
      await setTimeout(1);
    }
  }

  function add(entry: AuditEntry, decidedOn: DecidedOn | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
      waiting.push({ entry, decidedOn, resolve, reject });
      if (writing < STATEMENTS_AT_ONCE) void write();
    });
  }

  return {
    async record(entry) {
      await add(entry, undefined);
    },
    recordIfUnchanged: add,
  };
}

const NOTHING = sql``;

/** One statement whatever the number of entries; answers which of them were written. */
async function append(
  database: Sql<IdentityTables>,
  entries: readonly ConditionalEntry[],
  { announce = false } = {},
): Promise<ReadonlySet<number>> {
  const given = JSON.stringify(entries.map(rowOf));
  const { rows } = await sql<{ position: number }>`
    with given as materialized (
      select * from json_to_recordset(${given}::json) as given (
        position int, realm text, site text, actor text, action text, object text, decision text, reason text,
        request_id text, address text, client text, version text)
    ), standing as materialized (
      select given.* from given
        left join identity.clients on clients.realm = given.realm and clients.id = given.client
         and clients.xmin::text = given.version and clients.suspended_at is null
       where given.version is null or clients.id is not null
    ), ${announce ? ANNOUNCEMENT : NOTHING} written as (
      insert into identity.audit (realm, site, actor, action, object, decision, reason, request_id, address)
      select realm, site, actor, action, object, decision, reason, request_id, address from ${announce ? sql`announced, standing` : sql`standing`}
       order by position
    )
    select position from standing`.execute(database);
  return new Set(rows.map(({ position }) => position));
}

function rowOf({ entry, decidedOn }: ConditionalEntry, position: number) {
  return {
    position,
    realm: entry.realm,
    site: entry.site,
    actor: textOf(entry.actor),
    action: entry.action,
    object: textOf(entry.object),
    decision: entry.decision,
    reason: entry.reason === undefined ? undefined : textOf(entry.reason),
    request_id: entry.origin?.requestId,
    address: entry.origin?.address,
    client: decidedOn?.id,
    version: decidedOn?.version,
  };
}

const LONGEST_TEXT = 1000;

/** Text that PostgreSQL takes: no NUL, no half of a surrogate pair, and an end. */
function textOf(text: string): string {
  return text.slice(0, LONGEST_TEXT).replaceAll('\0', '\ufffd').toWellFormed();
}
