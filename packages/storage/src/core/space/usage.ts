import type { AnyTx, Database, Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { FileFacts } from '../files/types.ts';
import { signed } from '../signed.ts';

/** Whose bytes in which area; `area` as it is called in the configuration. */
export interface Account {
  readonly area: string;
  readonly owner: string;
}

/** What an entry of the journal does to the books. */
export interface SpaceChange extends Account {
  /** Bytes that came, or with a minus went. */
  readonly usedBytes: number;
  /** So much of what was claimed is settled by it. */
  readonly claimedBytes: number;
  /** A file that from now on belongs to `owner`. */
  readonly file?: FileFacts;
}

export interface Balance {
  /** Settled and claimed together. */
  readonly areaBytes: number;
  readonly ownerBytes: number;
}

export interface Limits {
  readonly areaBytes: number | undefined;
  readonly ownerBytes: number | undefined;
}

export interface BegunCount {
  /** By owner. */
  readonly bytes: ReadonlyMap<string, number>;
  readonly at: Date;
}

/** The books of one instance, in PostgreSQL: they hold for all its processes. */
export interface Usage {
  balance(account: Account): Promise<Balance>;
  /** Claims `bytes` unless a limit stands against it; says which balance it found. One claim at a time an area. */
  claim(account: Account, bytes: number, limits: Limits): Promise<{ granted: boolean; balance: Balance }>;
  apply(tx: AnyTx, changes: readonly SpaceChange[]): Promise<void>;
  release(account: Account, bytes: number): Promise<void>;
  /** Drops claims of processes that are gone. */
  dropClaims(isGone: (process: string) => boolean): Promise<void>;
  /** Who uploaded each of these files; nothing known: an empty string. */
  ownersOf(area: string, files: readonly FileFacts[]): Promise<readonly string[]>;
  /** When the files were last counted; `owner` undefined: those of anybody. */
  countedAt(area: string, owner: string | undefined): Promise<Date | undefined>;
  /** What the books say before a count, to be given to `finishCount` after it. */
  beginCount(area: string): Promise<BegunCount>;
  /**
   * Puts what was counted in place, together with what has changed since. A count that another process has finished
   * meanwhile stands: its correction would be taken for a change.
   */
  finishCount(area: string, begun: BegunCount, counted: ReadonlyMap<string, number>): Promise<void>;
}

export function createUsage(database: Database, instance: string, process: string): Usage {
  const lockArea = (tx: Sql | AnyTx, area: string) =>
    sql`select pg_advisory_xact_lock(hashtextextended(${`storage.space:${instance}:${area}`}, 0))`.execute(
      tx,
    );

  async function balanceOf(connection: Sql | AnyTx, { area, owner }: Account): Promise<Balance> {
    const { rows } = await sql<{ area_bytes: string; owner_bytes: string }>`
      select coalesce(sum(bytes), 0)::text as area_bytes,
        coalesce(sum(bytes) filter (where owner = ${owner}), 0)::text as owner_bytes
      from (
        select owner, used_bytes as bytes from storage.usage where instance = ${instance} and area = ${area}
        union all
        select owner, bytes from storage.space_claims where instance = ${instance} and area = ${area}
      ) as entries`.execute(connection);
    return { areaBytes: Number(rows[0]?.area_bytes), ownerBytes: Number(rows[0]?.owner_bytes) };
  }

  async function addClaim(tx: Sql | AnyTx, { area, owner }: Account, bytes: number): Promise<void> {
    await sql`
      insert into storage.space_claims (instance, area, owner, process, bytes)
      values (${instance}, ${area}, ${owner}, ${process}, ${bytes})
      on conflict (instance, area, owner, process) do update set
        bytes = space_claims.bytes + excluded.bytes`.execute(tx);
  }

  async function settleClaims(
    tx: Sql | AnyTx,
    settled: readonly (Account & { bytes: number })[],
  ): Promise<void> {
    await sql`
      update storage.space_claims set bytes = greatest(0, space_claims.bytes - settled.bytes)
      from (
        select area, owner, sum(bytes) as bytes
        from unnest(
          ${settled.map(({ area }) => area)}::text[],
          ${settled.map(({ owner }) => owner)}::text[],
          ${settled.map(({ bytes }) => bytes)}::bigint[]
        ) as one (area, owner, bytes)
        group by area, owner
      ) as settled
      where instance = ${instance} and process = ${process}
        and space_claims.area = settled.area and space_claims.owner = settled.owner`.execute(tx);
  }

  async function readUsage(connection: Sql | AnyTx, area: string): Promise<Map<string, number>> {
    const { rows } = await sql<{ owner: string; used_bytes: string }>`
      select owner, used_bytes::text from storage.usage
      where instance = ${instance} and area = ${area}`.execute(connection);
    return new Map(rows.map((row) => [row.owner, Number(row.used_bytes)]));
  }

  return {
    balance: (account) => balanceOf(database.sql, account),

    claim: (account, bytes, limits) =>
      database.transaction(async (tx) => {
        await lockArea(tx, account.area);
        const balance = await balanceOf(tx, account);
        const granted =
          balance.areaBytes + bytes <= (limits.areaBytes ?? Number.POSITIVE_INFINITY) &&
          balance.ownerBytes + bytes <= (limits.ownerBytes ?? Number.POSITIVE_INFINITY);
        if (granted && bytes > 0) await addClaim(tx, account, bytes);
        return { granted, balance };
      }),

    async apply(tx, changes) {
      if (changes.length === 0) return;
      const settled = changes
        .filter(({ claimedBytes }) => claimedBytes > 0)
        .map(({ area, owner, claimedBytes }) => ({ area, owner, bytes: claimedBytes }));
      if (settled.length > 0) await settleClaims(tx, settled);
      await sql`
        insert into storage.usage (instance, area, owner, used_bytes)
        select ${instance}, area, owner, sum(bytes)
        from unnest(
          ${changes.map(({ area }) => area)}::text[],
          ${changes.map(({ owner }) => owner)}::text[],
          ${changes.map(({ usedBytes }) => usedBytes)}::bigint[]
        ) as change (area, owner, bytes)
        group by area, owner
        order by area, owner
        on conflict (instance, area, owner) do update set
          used_bytes = greatest(0, usage.used_bytes + excluded.used_bytes)`.execute(tx);
      // The last word about an inode: a statement may touch each row once only.
      const owned = new Map(
        changes.flatMap((change) =>
          change.file ? [[`${change.area}:${change.file.inode}`, { ...change, file: change.file }]] : [],
        ),
      );
      if (owned.size === 0) return;
      const files = [...owned.values()];
      await sql`
        insert into storage.file_owners (instance, area, inode, created_ns, owner)
        select ${instance}, area, inode, created_ns, owner
        from unnest(
          ${files.map(({ area }) => area)}::text[],
          ${files.map(({ file }) => signed(file.inode))}::bigint[],
          ${files.map(({ file }) => signed(file.createdNs))}::bigint[],
          ${files.map(({ owner }) => owner)}::text[]
        ) as file (area, inode, created_ns, owner)
        order by area, inode
        on conflict (instance, area, inode) do update set
          created_ns = excluded.created_ns, owner = excluded.owner`.execute(tx);
    },

    release: (account, bytes) => settleClaims(database.sql, [{ ...account, bytes }]),

    async dropClaims(isGone) {
      const { rows } = await sql<{ process: string }>`
        select distinct process from storage.space_claims where instance = ${instance}`.execute(database.sql);
      const gone = rows.map((row) => row.process).filter(isGone);
      await sql`delete from storage.space_claims where instance = ${instance} and process = any(${gone})`.execute(
        database.sql,
      );
    },

    async ownersOf(area, files) {
      if (files.length === 0) return [];
      const { rows } = await sql<{ inode: string; created_ns: string; owner: string }>`
        select inode::text, created_ns::text, owner from storage.file_owners
        where instance = ${instance} and area = ${area}
          and inode = any(${files.map(({ inode }) => signed(inode))}::bigint[])`.execute(database.sql);
      const known = new Map(rows.map((row) => [`${row.inode}:${row.created_ns}`, row.owner]));
      return files.map(({ inode, createdNs }) => known.get(`${signed(inode)}:${signed(createdNs)}`) ?? '');
    },

    async countedAt(area, owner) {
      const { rows } = await sql<{ counted_at: Date | null }>`
        select min(counted_at) as counted_at from storage.usage
        where instance = ${instance} and area = ${area}
          and (${owner ?? null}::text is null or owner = ${owner ?? null})`.execute(database.sql);
      return rows[0]?.counted_at ?? undefined;
    },

    async beginCount(area) {
      const { rows } = await sql<{ at: Date }>`select clock_timestamp() as at`.execute(database.sql);
      return { at: rows[0]?.at ?? new Date(), bytes: await readUsage(database.sql, area) };
    },

    async finishCount(area, { at, bytes: before }, counted) {
      const owners = [...counted.keys()];
      await database.transaction(async (tx) => {
        const { rows: standing } = await sql<{ owner: string; counted_at: Date | null }>`
          select owner, counted_at from storage.usage where instance = ${instance} and area = ${area}
          order by owner for update`.execute(tx);
        if (
          standing.some(
            ({ owner, counted_at: countedAt }) => counted.has(owner) && countedAt && countedAt > at,
          )
        )
          return;
        const now = await readUsage(tx, area);
        const bytes = owners.map((owner) =>
          Math.max(0, (counted.get(owner) ?? 0) + (now.get(owner) ?? 0) - (before.get(owner) ?? 0)),
        );
        await sql`
          insert into storage.usage (instance, area, owner, used_bytes, counted_at)
          select ${instance}, ${area}, owner, bytes, clock_timestamp()
          from unnest(${owners}::text[], ${bytes}::bigint[]) as counted (owner, bytes)
          order by owner
          on conflict (instance, area, owner) do update set
            used_bytes = excluded.used_bytes, counted_at = excluded.counted_at`.execute(tx);
      });
    },
  };
}
