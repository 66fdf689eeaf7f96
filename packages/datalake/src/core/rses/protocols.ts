import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { ProtocolRow } from '../../db/schema.ts';
import type { ProtocolOperation } from './pfn.ts';
import { loadTopology, topologyChanged } from './topology.ts';

export interface NewProtocol {
  scheme: string;
  hostname: string;
  port: number;
  prefix: string;
  impl: string;
  /** 1 is best; absent or null: not offered. */
  priorities: Readonly<Partial<Record<ProtocolOperation, number | null>>>;
  extendedAttributes: Record<string, unknown> | null;
}

export async function addProtocol(tx: Tx, rseName: string, given: NewProtocol): Promise<void> {
  const rse = (await loadTopology(tx)).byName(rseName);
  const { priorities: p } = given;
  const { rows } = await sql`
    insert into datalake.rse_protocols (rse_id, scheme, hostname, port, prefix, impl, lan_read, lan_write, lan_delete,
      wan_read, wan_write, wan_delete, third_party_copy_read, third_party_copy_write, extended_attributes)
    values (${rse.id}, ${given.scheme}, ${given.hostname}, ${given.port}, ${given.prefix}, ${given.impl},
      ${p.lan_read ?? null}, ${p.lan_write ?? null}, ${p.lan_delete ?? null},
      ${p.wan_read ?? null}, ${p.wan_write ?? null}, ${p.wan_delete ?? null},
      ${p.third_party_copy_read ?? null}, ${p.third_party_copy_write ?? null},
      ${given.extendedAttributes === null ? null : JSON.stringify(given.extendedAttributes)}::jsonb)
    on conflict do nothing returning scheme`.execute(tx);
  if (rows.length === 0) {
    throw new WeftError(
      'conflict',
      'Duplicate',
      `Protocol '${given.scheme}' on port ${given.port} already registered for '${rseName}' with hostname '${given.hostname}'.`,
    );
  }
  await topologyChanged(tx);
}

export interface ProtocolKey {
  scheme: string;
  hostname?: string;
  port?: number;
}

export function matchesProtocol(key: ProtocolKey) {
  return (protocol: ProtocolRow): boolean =>
    protocol.scheme === key.scheme &&
    (key.hostname === undefined || protocol.hostname === key.hostname) &&
    (key.port === undefined || protocol.port === key.port);
}

export async function deleteProtocol(tx: Tx, rseName: string, key: ProtocolKey): Promise<void> {
  const rse = (await loadTopology(tx)).byName(rseName);
  if (!rse.protocols.some(matchesProtocol(key))) throw protocolNotSupported(rseName, key.scheme);
  await sql`
    delete from datalake.rse_protocols
    where rse_id = ${rse.id} and scheme = ${key.scheme}
      and hostname = coalesce(${key.hostname ?? null}, hostname)
      and port = coalesce(${key.port ?? null}, port)`.execute(tx);
  await topologyChanged(tx);
}

export interface ProtocolChange {
  prefix?: string;
  impl?: string;
  priorities: Readonly<Partial<Record<ProtocolOperation, number | null>>>;
}

export async function updateProtocol(
  tx: Tx,
  rseName: string,
  key: ProtocolKey,
  change: ProtocolChange,
): Promise<void> {
  const rse = (await loadTopology(tx)).byName(rseName);
  if (!rse.protocols.some(matchesProtocol(key))) throw protocolNotSupported(rseName, key.scheme);
  const columns = {
    ...change.priorities,
    ...(change.prefix === undefined ? {} : { prefix: change.prefix }),
    ...(change.impl === undefined ? {} : { impl: change.impl }),
  };
  await sql`
    update datalake.rse_protocols p set
      prefix = n.prefix, impl = n.impl, lan_read = n.lan_read, lan_write = n.lan_write, lan_delete = n.lan_delete,
      wan_read = n.wan_read, wan_write = n.wan_write, wan_delete = n.wan_delete,
      third_party_copy_read = n.third_party_copy_read, third_party_copy_write = n.third_party_copy_write
    from datalake.rse_protocols o, jsonb_populate_record(o, ${JSON.stringify(columns)}::jsonb) n
    where p.rse_id = ${rse.id} and p.scheme = ${key.scheme}
      and p.hostname = coalesce(${key.hostname ?? null}, p.hostname) and p.port = coalesce(${key.port ?? null}, p.port)
      and (o.rse_id, o.scheme, o.hostname, o.port) = (p.rse_id, p.scheme, p.hostname, p.port)`.execute(tx);
  await topologyChanged(tx);
}

export function protocolNotSupported(rseName: string, scheme?: string): WeftError {
  return new WeftError(
    'not-found',
    'RSEProtocolNotSupported',
    scheme === undefined
      ? `RSE '${rseName}' does not have any protocols defined.`
      : `RSE '${rseName}' does not support protocol '${scheme}'.`,
  );
}
