import type { AnyTx, Database, Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { FileFacts } from '../files/types.ts';
import { signed } from '../signed.ts';

type Content = Pick<FileFacts, 'inode' | 'size' | 'modifiedNs'>;

/** A file that has a copy on tape, or is to get one. */
export interface TapeFile extends Content {
  /** As it is called where checksums are kept. */
  readonly area: string;
  /** Local account, in multi-user mode; else empty. */
  readonly account: string;
  /** As in the URL, plain. */
  readonly path: string;
  /** Name in the library, once it is archived. */
  readonly copy: string | undefined;
  readonly adler32: string | undefined;
  /** False: what stands there is a stub. */
  readonly onDisk: boolean;
  /** Content and stub are changing places, or were when a process died: the time that the new one carries. */
  readonly replacingNs: bigint | undefined;
}

/** What is known about one file, as it stands on disk now. */
export interface TapeState {
  readonly onDisk: boolean;
  readonly copy: string | undefined;
  /** Of the copy. */
  readonly adler32: string | undefined;
}

export interface TapeFiles {
  /** In the order asked; nothing: no copy on tape, and none to come. Within a transaction, on its connection. */
  find(
    area: string,
    files: readonly (Content & { path: string })[],
    connection?: Sql | AnyTx,
  ): Promise<readonly (TapeState | undefined)[]>;
  byInode(area: string, inode: bigint): Promise<TapeFile | undefined>;
  /** The record of the same content as it is now, held until the transaction ends. */
  current(tx: AnyTx, file: TapeFile): Promise<TapeFile | undefined>;
  byPath(area: string, path: string): Promise<TapeFile | undefined>;
  /** Whether a stub lies at a path or below. */
  hasStubs(area: string, path: string): Promise<boolean>;
  /** Names of the areas that have stubs, as in the configuration. */
  areasWithStubs(): Promise<string[]>;
  /** From now on of this content; whatever was known about the path or the inode goes. @returns copies to erase. */
  add(
    tx: AnyTx,
    files: readonly (Content & { area: string; account: string; path: string })[],
  ): Promise<string[]>;
  /** Forgets what stands at a path and below. @returns copies to erase. */
  remove(tx: AnyTx, area: string, path: string): Promise<string[]>;
  rename(tx: AnyTx, area: string, from: string, to: string): Promise<void>;
  /** Follows a change of the same file underneath. */
  refresh(file: TapeFile, now: Content): Promise<void>;
  /** @returns false when the file has changed meanwhile. */
  archived(
    tx: AnyTx,
    file: TapeFile,
    copy: { name: string; adler32: string; diskSeconds: number },
  ): Promise<boolean>;
  /** Says that something of this time is about to take the place of what stands there. */
  announce(file: TapeFile, modifiedNs: bigint): Promise<void>;
  /** What was announced does not come. */
  withdraw(tx: AnyTx, file: TapeFile): Promise<void>;
  replaced(
    tx: AnyTx,
    file: TapeFile,
    now: Content,
    state: { onDisk: boolean; diskSeconds: number },
  ): Promise<void>;
  /** Which of these paths may leave the disk, and when. */
  evictable(tx: AnyTx, area: string, paths: readonly string[]): Promise<{ inode: bigint; at: Date }[]>;
  /** Those of these copies that no file has. */
  unused(copies: readonly string[]): Promise<string[]>;
  /** Of all copies on tape. */
  copiedBytes(): Promise<number>;
  count(): Promise<Readonly<Record<'disk' | 'disk-and-tape' | 'tape', number>>>;
}

interface Row {
  area: string;
  account: string;
  path: string;
  inode: string;
  size_bytes: string;
  modified_ns: string;
  copy: string | null;
  adler32: string | null;
  on_disk: boolean;
  replacing_ns: string | null;
}

const COLUMNS = sql.raw(
  'area, account, path, inode::text, size_bytes::text, modified_ns::text, copy, adler32, on_disk, replacing_ns::text',
);

/** The table `storage.tape_files` of one instance. */
export function createTapeFiles(database: Database, instance: string): TapeFiles {
  /** What stands at `path` or below it; `/` sorts right before `0`. */
  const at = (path: string) => sql`(path = ${path} or (path > ${`${path}/`} and path < ${`${path}0`}))`;

  const one = async (condition: ReturnType<typeof sql>): Promise<TapeFile | undefined> => {
    const { rows } = await sql<Row>`
      select ${COLUMNS} from storage.tape_files
      where instance = ${instance} and ${condition} order by replacing_ns is not null desc, modified_ns desc limit 1`.execute(
      database.sql,
    );
    const [row] = rows;
    return row && toFile(row);
  };

  return {
    async find(area, files, connection = database.sql) {
      if (files.length === 0) return [];
      const { rows } = await sql<{
        position: string;
        on_disk: boolean;
        copy: string | null;
        adler32: string | null;
      }>`
        with asked as (
          select * from unnest(
            ${files.map(({ path }) => path)}::text[],
            ${files.map(({ inode }) => signed(inode))}::bigint[],
            ${files.map(({ size }) => String(size))}::bigint[],
            ${files.map(({ modifiedNs }) => signed(modifiedNs))}::bigint[]
          ) with ordinality as asked (path, inode, size_bytes, modified_ns, position)
        )
        select position::text, known.on_disk, known.copy, known.adler32 from asked
        join storage.tape_files as known using (inode, size_bytes, modified_ns)
        where instance = ${instance} and area = ${area}
        union all
        -- Put there by a process that died before it could say so.
        select position::text, not known.on_disk, known.copy, known.adler32 from asked
        join storage.tape_files as known on known.path = asked.path collate "C"
          and known.size_bytes = asked.size_bytes and known.replacing_ns = asked.modified_ns
          and known.inode <> asked.inode
        where instance = ${instance} and area = ${area}`.execute(connection);
      const states = new Map(rows.map((row) => [Number(row.position), row]));
      return files.map((_, index) => {
        const row = states.get(index + 1);
        return row && { onDisk: row.on_disk, copy: row.copy ?? undefined, adler32: row.adler32 ?? undefined };
      });
    },

    byInode: (area, inode) => one(sql`area = ${area} and inode = ${signed(inode)}::bigint`),
    async current(tx, file) {
      const { rows } = await sql<Row>`
        select ${COLUMNS} from storage.tape_files where ${same(file)} for update`.execute(tx);
      const [row] = rows;
      return row && toFile(row);
    },
    byPath: (area, path) => one(sql`area = ${area} and path = ${path}`),

    async hasStubs(area, path) {
      const { rows } = await sql`
        select from storage.tape_files
        where instance = ${instance} and area = ${area} and ${at(path)} and (not on_disk or replacing_ns is not null)
        limit 1`.execute(database.sql);
      return rows.length > 0;
    },

    async areasWithStubs() {
      const { rows } = await sql<{ name: string }>`
        select distinct split_part(area, '@', 1) as name from storage.tape_files
        where instance = ${instance} and (not on_disk or replacing_ns is not null)`.execute(database.sql);
      return rows.map(({ name }) => name);
    },

    async add(tx, files) {
      // The last content of a name wins; so does the last name of an inode.
      const byPath = new Map(files.map((file) => [`${file.area} ${file.path}`, file]));
      const added = [
        ...new Map([...byPath.values()].map((file) => [`${file.area} ${file.inode}`, file])).values(),
      ];
      if (added.length === 0) return [];
      const columns = sql`unnest(
        ${added.map(({ area }) => area)}::text[],
        ${added.map(({ path }) => path)}::text[],
        ${added.map(({ inode }) => signed(inode))}::bigint[],
        ${added.map(({ size }) => String(size))}::bigint[],
        ${added.map(({ modifiedNs }) => signed(modifiedNs))}::bigint[],
        ${added.map(({ account }) => account)}::text[]
      ) as added (area, path, inode, size_bytes, modified_ns, account)`;
      const gone = await sql<{ copy: string | null }>`
        delete from storage.tape_files as known using ${columns}
        where instance = ${instance} and known.area = added.area
          and (known.path = added.path collate "C" or (known.inode = added.inode and known.replacing_ns is null))
        returning known.copy`.execute(tx);
      await sql`
        insert into storage.tape_files (instance, area, path, inode, size_bytes, modified_ns, account)
        select ${instance}, area, path, inode, size_bytes, modified_ns, account from ${columns}
        order by area, inode`.execute(tx);
      return copiesOf(gone.rows);
    },

    async remove(tx, area, path) {
      const { rows } = await sql<{ copy: string | null }>`
        delete from storage.tape_files where instance = ${instance} and area = ${area} and ${at(path)}
        returning copy`.execute(tx);
      return copiesOf(rows);
    },

    async rename(tx, area, from, to) {
      await sql`
        update storage.tape_files set path = ${to} || substr(path, ${from.length + 1})
        where instance = ${instance} and area = ${area} and ${at(from)}`.execute(tx);
    },

    async refresh(file, now) {
      await sql`
        update storage.tape_files set size_bytes = ${String(now.size)}::bigint, modified_ns = ${signed(now.modifiedNs)}::bigint
        where ${same(file)} and copy is null`.execute(database.sql);
    },

    async archived(tx, file, { name, adler32, diskSeconds }) {
      const { rows } = await sql`
        update storage.tape_files set copy = ${name}, adler32 = ${adler32},
          disk_until = now() + make_interval(secs => ${diskSeconds})
        where ${same(file)} and copy is null returning true`.execute(tx);
      return rows.length > 0;
    },

    async announce(file, modifiedNs) {
      await sql`update storage.tape_files set replacing_ns = ${signed(modifiedNs)}::bigint where ${same(file)} and on_disk = ${file.onDisk}`.execute(
        database.sql,
      );
    },

    async withdraw(tx, file) {
      await sql`update storage.tape_files set replacing_ns = null where ${same(file)}`.execute(tx);
    },

    async replaced(tx, file, now, { onDisk, diskSeconds }) {
      // An inode that comes back may stand in a row about something that is long gone.
      await sql`delete from storage.tape_files
        where instance = ${instance} and area = ${file.area} and inode = ${signed(now.inode)}::bigint
          and inode <> ${signed(file.inode)}::bigint and replacing_ns is null`.execute(tx);
      await sql`
        update storage.tape_files set inode = ${signed(now.inode)}::bigint, size_bytes = ${String(now.size)}::bigint,
          modified_ns = ${signed(now.modifiedNs)}::bigint, on_disk = ${onDisk}, replacing_ns = null,
          disk_until = now() + make_interval(secs => ${diskSeconds})
        where ${same(file)}`.execute(tx);
    },

    async evictable(tx, area, paths) {
      if (paths.length === 0) return [];
      const { rows } = await sql<{ inode: string; at: Date }>`
        select inode::text, greatest(disk_until, now()) as at from storage.tape_files
        where instance = ${instance} and area = ${area} and path = any(${paths}) and on_disk and copy is not null`.execute(
        tx,
      );
      return rows.map(({ inode, at: time }) => ({ inode: BigInt.asUintN(64, BigInt(inode)), at: time }));
    },

    async unused(copies) {
      const { rows } = await sql<{ copy: string }>`
        select copy from storage.tape_files where instance = ${instance} and copy = any(${copies})`.execute(
        database.sql,
      );
      const used = new Set(rows.map(({ copy }) => copy));
      return copies.filter((copy) => !used.has(copy));
    },

    async copiedBytes() {
      const { rows } = await sql<{ bytes: string }>`
        select coalesce(sum(size_bytes), 0)::text as bytes from storage.tape_files
        where instance = ${instance} and copy is not null`.execute(database.sql);
      return Number(rows[0]?.bytes ?? 0);
    },

    async count() {
      const { rows } = await sql<{ disk: number; both: number; tape: number }>`
        select count(*) filter (where copy is null)::int as disk,
          count(*) filter (where copy is not null and on_disk)::int as both,
          count(*) filter (where not on_disk)::int as tape
        from storage.tape_files where instance = ${instance}`.execute(database.sql);
      const [{ disk, both, tape } = { disk: 0, both: 0, tape: 0 }] = rows;
      return { disk, 'disk-and-tape': both, tape };
    },
  };

  function same({ area, inode, size, modifiedNs }: TapeFile) {
    return sql`instance = ${instance} and area = ${area} and inode = ${signed(inode)}::bigint
      and size_bytes = ${String(size)}::bigint and modified_ns = ${signed(modifiedNs)}::bigint`;
  }
}

function toFile(row: Row): TapeFile {
  return {
    area: row.area,
    account: row.account,
    path: row.path,
    inode: BigInt.asUintN(64, BigInt(row.inode)),
    size: Number(row.size_bytes),
    modifiedNs: BigInt(row.modified_ns),
    copy: row.copy ?? undefined,
    adler32: row.adler32 ?? undefined,
    onDisk: row.on_disk,
    replacingNs: row.replacing_ns === null ? undefined : BigInt(row.replacing_ns),
  };
}

function copiesOf(rows: readonly { copy: string | null }[]): string[] {
  return rows.flatMap(({ copy }) => copy ?? []);
}
