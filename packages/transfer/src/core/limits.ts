import type { Tx } from '@weft/kernel/database';
import { type Selectable, sql } from 'kysely';
import type { TransferConfig } from '../config.ts';
import type {
  ActivitySharesTable,
  LinksTable,
  StoragesTable,
  TpcSupport,
  TransferTables,
} from '../db/schema.ts';
import type { Limits } from './choose-files.ts';

type StorageRow = Selectable<StoragesTable>;
type LinkRow = Selectable<LinksTable>;
type ShareRow = Selectable<ActivitySharesTable>;

export interface LinkAndStorageLimits extends Limits {
  tpcSupport(storage: string): TpcSupport;
}

/**
 * Limits as the operator set them: rows of `/config/se`, `/config/links` and activity shares, then the `*` rows, then the
 * configuration. A link's row is the most specific of (source, destination), (source, *), (*, destination), (*, *). When
 * the optimizer comes, its decision for a link goes between a row's bounds here.
 */
export async function readLimits(
  tx: Tx<TransferTables>,
  config: TransferConfig,
): Promise<LinkAndStorageLimits> {
  const { rows } = await sql<{ storages: StorageRow[]; links: LinkRow[]; shares: ShareRow[] }>`
    select
      (select coalesce(jsonb_agg(s), '[]') from transfer.storages s) as storages,
      (select coalesce(jsonb_agg(l), '[]') from transfer.links l) as links,
      (select coalesce(jsonb_agg(a), '[]') from transfer.activity_shares a) as shares
  `.execute(tx);
  const storages = new Map(rows[0]?.storages.map((row) => [row.storage, row]));
  const links = new Map(rows[0]?.links.map((row) => [`${row.source}\n${row.destination}`, row]));
  const shares = new Map(rows[0]?.shares.map((row) => [`${row.vo}\n${row.activity}`, row.share]));
  const ofStorage = <Key extends 'inbound_max_active' | 'outbound_max_active' | 'tpc_support'>(
    name: string,
    key: Key,
  ) => storages.get(name)?.[key] ?? storages.get('*')?.[key] ?? undefined;
  const ofLink = (source: string, destination: string): LinkRow | undefined =>
    links.get(`${source}\n${destination}`) ??
    links.get(`${source}\n*`) ??
    links.get(`*\n${destination}`) ??
    links.get('*\n*');
  return {
    link: (source, destination) => ofLink(source, destination)?.max_active ?? config.limits.link,
    inbound: (storage) => ofStorage(storage, 'inbound_max_active') ?? config.limits.storage_inbound,
    outbound: (storage) => ofStorage(storage, 'outbound_max_active') ?? config.limits.storage_outbound,
    share: (vo, activity) => shares.get(`${vo}\n${activity}`) ?? shares.get(`${vo}\ndefault`) ?? 1,
    tpcSupport: (storage) => ofStorage(storage, 'tpc_support') ?? 'FULL',
  };
}
