import type { Sql } from '@weft/kernel/database';
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

const LONGEST_TEXT = 1000;

/** Appends to the audit log; nothing ever changes or removes a row before its retention ends. */
export async function recordAudit(
  sql: Sql<IdentityTables>,
  ...entries: readonly AuditEntry[]
): Promise<void> {
  if (entries.length === 0) return;
  await sql
    .insertInto('identity.audit')
    .values(
      entries.map((entry) => ({
        realm: entry.realm,
        actor: entry.actor.slice(0, LONGEST_TEXT),
        action: entry.action,
        object: entry.object.slice(0, LONGEST_TEXT),
        decision: entry.decision,
        reason: entry.reason?.slice(0, LONGEST_TEXT) ?? null,
        request_id: entry.origin?.requestId ?? null,
        address: entry.origin?.address ?? null,
        site: entry.site ?? null,
      })),
    )
    .execute();
}

/** Rows of one statement at most. */
const BATCH = 500;

/**
 * Writes audit entries of many requests together: those that come while a statement is under way go with the next one. Each
 * promise resolves when its row is durable, so no token leaves without one.
 */
export function createAuditWriter(sql: Sql<IdentityTables>): (entry: AuditEntry) => Promise<void> {
  let waiting: { entry: AuditEntry; resolve: () => void; reject: (error: unknown) => void }[] = [];
  let writing = false;

  async function write(): Promise<void> {
    writing = true;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      waiting = waiting.slice(BATCH);
      try {
        await recordAudit(sql, ...batch.map(({ entry }) => entry));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    writing = false;
  }

  return (entry) =>
    new Promise<void>((resolve, reject) => {
      waiting.push({ entry, resolve, reject });
      if (!writing) void write();
    });
}
