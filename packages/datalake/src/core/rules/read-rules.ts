import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { type RawBuilder, sql } from 'kysely';
import type { RuleWithDid } from '../../db/schema.ts';
import { parseId } from '../names.ts';

const RULES = sql`
  select r.*, d.scope, d.name, d.did_type, d.bytes as did_bytes
  from datalake.rules r join datalake.dids d on d.id = r.did_id`;

/** @throws {WeftError} `not-found`, code `RuleNotFound`, also for texts that are no ids. */
export async function getRule(connection: Sql, id: string): Promise<RuleWithDid> {
  const uuid = parseId(id);
  const { rows } = uuid
    ? await sql<RuleWithDid>`${RULES} where r.id = ${uuid}`.execute(connection)
    : { rows: [] };
  const row = rows[0];
  if (!row) throw new WeftError('not-found', 'RuleNotFound', `No rule with the id ${id.slice(0, 64)} found`);
  return row;
}

export async function getRules(connection: Sql, ids: readonly string[]): Promise<RuleWithDid[]> {
  const { rows } = await sql<RuleWithDid>`${RULES} where r.id = any(${ids}::uuid[])`.execute(connection);
  return rows;
}

export interface RuleFilter {
  id?: string;
  scope?: string;
  name?: string;
  account?: string;
  state?: string;
  did_type?: string;
  grouping?: string;
  rse_expression?: string;
  activity?: string;
  copies?: number;
  subscription_id?: string;
  created_before?: Date;
  created_after?: Date;
  updated_before?: Date;
  updated_after?: Date;
}

/** Rules by equality of columns; `*` in account and scope is a wildcard. Newest first. */
export async function listRules(connection: Sql, filter: RuleFilter): Promise<RuleWithDid[]> {
  const { rows } = await sql<RuleWithDid>`
    ${RULES} where ${sql.join([sql`true`, ...conditions(filter)], sql` and `)} order by r.created_at desc, r.id`.execute(
    connection,
  );
  return rows;
}

function conditions(filter: RuleFilter): RawBuilder<unknown>[] {
  const found: RawBuilder<unknown>[] = [];
  const like = (text: string) => text.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');
  if (filter.id !== undefined) found.push(sql`r.id = ${filter.id}::uuid`);
  if (filter.scope !== undefined) found.push(sql`d.scope like ${like(filter.scope)}`);
  if (filter.name !== undefined) found.push(sql`d.name = ${filter.name}`);
  if (filter.account !== undefined) found.push(sql`r.account like ${like(filter.account)}`);
  if (filter.state !== undefined) found.push(sql`r.state = ${filter.state}`);
  if (filter.did_type !== undefined) found.push(sql`d.did_type = ${filter.did_type}`);
  if (filter.grouping !== undefined) found.push(sql`r.grouping = ${filter.grouping}`);
  if (filter.rse_expression !== undefined) found.push(sql`r.rse_expression = ${filter.rse_expression}`);
  if (filter.activity !== undefined) found.push(sql`r.activity = ${filter.activity}`);
  if (filter.copies !== undefined) found.push(sql`r.copies = ${filter.copies}`);
  if (filter.subscription_id !== undefined)
    found.push(sql`r.subscription_id = ${filter.subscription_id}::uuid`);
  if (filter.created_before !== undefined) found.push(sql`r.created_at <= ${filter.created_before}`);
  if (filter.created_after !== undefined) found.push(sql`r.created_at >= ${filter.created_after}`);
  if (filter.updated_before !== undefined) found.push(sql`r.updated_at <= ${filter.updated_before}`);
  if (filter.updated_after !== undefined) found.push(sql`r.updated_at >= ${filter.updated_after}`);
  return found;
}

/** Rules that lock this file, through whichever parent. */
export async function listAssociatedRules(connection: Sql, didId: number): Promise<RuleWithDid[]> {
  const { rows } = await sql<RuleWithDid>`
    ${RULES} where r.id in (select rule_id from datalake.locks where did_id = ${didId}) order by r.created_at`.execute(
    connection,
  );
  return rows;
}

export interface LockLine {
  scope: string;
  name: string;
  rse_id: string;
  rse: string;
  state: string;
  rule_id: string;
}

export async function listLocksOfRule(connection: Sql, ruleId: string): Promise<LockLine[]> {
  const { rows } = await sql<LockLine>`
    select d.scope, d.name, l.rse_id, s.rse, l.state, l.rule_id
    from datalake.locks l join datalake.dids d on d.id = l.did_id join datalake.rses s on s.id = l.rse_id
    where l.rule_id = ${ruleId} order by d.scope, d.name, s.rse`.execute(connection);
  return rows;
}
