import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { Topology } from '../rses/topology.ts';
import { getAccount } from './accounts.ts';

/** -1 in the database and on the wire going in; `Infinity` here and coming out. */
const toBytes = (stored: number): number => (stored < 0 ? Number.POSITIVE_INFINITY : stored);

export interface LocalLimit {
  rse: string;
  rse_id: string;
  bytes: number;
}

export async function localLimits(connection: Sql, account: string): Promise<LocalLimit[]> {
  await getAccount(connection, account);
  const { rows } = await sql<LocalLimit>`
    select r.rse, l.rse_id, l.bytes from datalake.account_limits l join datalake.rses r on r.id = l.rse_id
    where l.account = ${account} and r.deleted_at is null order by r.rse`.execute(connection);
  return rows.map((row) => ({ ...row, bytes: toBytes(row.bytes) }));
}

export async function setLocalLimit(
  connection: Sql,
  account: string,
  rseId: string,
  bytes: number,
): Promise<void> {
  await getAccount(connection, account);
  await sql`
    insert into datalake.account_limits (account, rse_id, bytes) values (${account}, ${rseId}, ${bytes})
    on conflict (account, rse_id) do update set bytes = excluded.bytes, updated_at = now()`.execute(
    connection,
  );
}

export async function deleteLocalLimit(connection: Sql, account: string, rseId: string): Promise<void> {
  await getAccount(connection, account);
  await sql`delete from datalake.account_limits where account = ${account} and rse_id = ${rseId}`.execute(
    connection,
  );
}

export interface GlobalLimit {
  rse_expression: string;
  bytes: number;
}

export async function globalLimits(connection: Sql, account: string): Promise<GlobalLimit[]> {
  await getAccount(connection, account);
  const { rows } = await sql<GlobalLimit>`
    select rse_expression, bytes from datalake.account_global_limits
    where account = ${account} order by rse_expression`.execute(connection);
  return rows.map((row) => ({ ...row, bytes: toBytes(row.bytes) }));
}

export async function setGlobalLimit(
  connection: Sql,
  account: string,
  expression: string,
  bytes: number,
): Promise<void> {
  await getAccount(connection, account);
  await sql`
    insert into datalake.account_global_limits (account, rse_expression, bytes) values (${account}, ${expression}, ${bytes})
    on conflict (account, rse_expression) do update set bytes = excluded.bytes, updated_at = now()`.execute(
    connection,
  );
}

export async function deleteGlobalLimit(connection: Sql, account: string, expression: string): Promise<void> {
  await getAccount(connection, account);
  await sql`
    delete from datalake.account_global_limits
    where account = ${account} and rse_expression = ${expression}`.execute(connection);
}

export interface AccountUsage {
  rse_id: string;
  rse: string;
  files: number;
  bytes: number;
  bytes_limit: number;
  bytes_remaining: number;
}

/** Usage counts locks; a limit without usage shows zeros, usage without a limit shows limit 0 (brief rucio-api 2.2). */
export async function localUsage(connection: Sql, account: string): Promise<AccountUsage[]> {
  await getAccount(connection, account);
  const { rows } = await sql<{
    rse_id: string;
    rse: string;
    files: number;
    bytes: number;
    stored_limit: number | null;
  }>`
    select r.id as rse_id, r.rse, coalesce(u.files, 0) as files, coalesce(u.bytes, 0) as bytes, l.bytes as stored_limit
    from datalake.rses r
    left join datalake.usage u on u.rse_id = r.id and u.account = ${account}
    left join datalake.account_limits l on l.rse_id = r.id and l.account = ${account}
    where (u.files <> 0 or l.bytes is not null) and r.deleted_at is null order by r.rse`.execute(connection);
  return rows.map(({ stored_limit, ...row }) => {
    const limit = stored_limit === null ? 0 : toBytes(stored_limit);
    return { ...row, bytes_limit: limit, bytes_remaining: limit - row.bytes };
  });
}

export interface GlobalUsage {
  rse_expression: string;
  files: number;
  bytes: number;
  bytes_limit: number;
  bytes_remaining: number;
}

export async function globalUsage(
  connection: Sql,
  topology: Topology,
  account: string,
): Promise<GlobalUsage[]> {
  const limits = await globalLimits(connection, account);
  const used = await usageByRse(connection, account);
  return limits.map(({ rse_expression, bytes: limit }) => {
    let [files, bytes] = [0, 0];
    for (const rse of rsesOf(topology, rse_expression)) {
      files += used.get(rse)?.files ?? 0;
      bytes += used.get(rse)?.bytes ?? 0;
    }
    return { rse_expression, files, bytes, bytes_limit: limit, bytes_remaining: limit - bytes };
  });
}

/** An expression that matches no RSE today limits nothing today. */
function rsesOf(topology: Topology, expression: string): string[] {
  try {
    return topology.select(expression).map(({ id }) => id);
  } catch (error) {
    if (error instanceof WeftError && error.code === 'InvalidRSEExpression') return [];
    throw error;
  }
}

async function usageByRse(
  connection: Sql,
  account: string,
): Promise<Map<string, { files: number; bytes: number }>> {
  const { rows } = await sql<{ rse_id: string; files: number; bytes: number }>`
    select rse_id, files, bytes from datalake.usage where account = ${account}`.execute(connection);
  return new Map(rows.map(({ rse_id, files, bytes }) => [rse_id, { files, bytes }]));
}

/** What an account may still place, while a rule is being made. */
export interface Quota {
  /** Whether a group of so many bytes fits; strictly below a local limit, up to a global one (brief rucio-daemons 3.5). */
  allows(rseId: string, bytes: number): boolean;
  take(rseId: string, bytes: number): void;
}

export const UNLIMITED: Quota = { allows: () => true, take: () => undefined };

/**
 * Reads the quota of an account and keeps other rules of the account waiting until this transaction ends, so that two at
 * once cannot both take the last bytes. An RSE with neither a local nor a global limit allows nothing; ours: a global
 * limit alone is enough.
 */
export async function lockQuota(tx: Sql, topology: Topology, account: string): Promise<Quota> {
  const [local, global] = [await localLimits(tx, account), await globalLimits(tx, account)];
  const finite = [...local, ...global].some(({ bytes }) => Number.isFinite(bytes));
  if (finite)
    await sql`select pg_advisory_xact_lock(hashtextextended('datalake.quota:' || ${account}, 0))`.execute(tx);
  const used = await usageByRse(tx, account);
  const usedAt = (rseId: string) => used.get(rseId)?.bytes ?? 0;
  const localLeft = new Map(local.map(({ rse_id, bytes }) => [rse_id, bytes - usedAt(rse_id)]));
  const globalLeft = global.map(({ rse_expression, bytes }) => {
    const rses = new Set(rsesOf(topology, rse_expression));
    let left = bytes;
    for (const rse of rses) left -= usedAt(rse);
    return { rses, left };
  });
  return {
    allows(rseId, bytes) {
      const own = localLeft.get(rseId);
      const shared = globalLeft.filter(({ rses }) => rses.has(rseId));
      if (own === undefined && shared.length === 0) return false;
      if (own !== undefined && (own <= 0 || own <= bytes)) return false;
      return shared.every(({ left }) => left > 0 && left >= bytes);
    },
    take(rseId, bytes) {
      const own = localLeft.get(rseId);
      if (own !== undefined) localLeft.set(rseId, own - bytes);
      for (const limit of globalLeft) if (limit.rses.has(rseId)) limit.left -= bytes;
    },
  };
}
