import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';

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

/**
 * The audit log of a site or of an issuer after a cursor, oldest first. Numbers are drawn before rows are committed, so rows
 * that are younger than the oldest transaction under way wait for it: a reader never passes one that is still to come.
 */
export async function readAudit(
  database: Sql<IdentityTables>,
  of: { site: string } | { realm: string },
  after: string,
  limit: number,
): Promise<AuditRow[]> {
  const whose = 'site' in of ? sql`site = ${of.site}` : sql`realm = ${of.realm}`;
  const { rows } = await sql<AuditRow>`
    select seq, at, actor, action, object, decision, reason, request_id, address
      from identity.audit
     where ${whose} and seq > ${after}::bigint
       and age(xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid)
     order by seq limit ${limit}`.execute(database);
  return rows;
}
