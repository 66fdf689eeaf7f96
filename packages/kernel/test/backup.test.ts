import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { migrate, migrateKernel, restoreBackup, writeBackup } from '../src/database/index.ts';
import { startTestDatabase, type TestDatabase } from '../src/testing/test-database.ts';

let source: TestDatabase;
let target: TestDatabase;
let folder: string;
let shop: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-backup-'));
  shop = join(folder, 'migrations');
  await mkdir(shop);
  await writeFile(
    join(shop, '0001-shop.sql'),
    `create schema shop;
     create table shop.orders (
       id bigint generated always as identity primary key, parent bigint references shop.orders,
       item text, total numeric, note jsonb, raw bytea, tags text[],
       doubled numeric generated always as (total * 2) stored);
     create sequence shop.tickets;`,
  );
  await writeFile(
    join(shop, '0002-items.sql'),
    `create table shop.items (name text primary key, at timestamptz default now());
     alter table shop.orders add foreign key (item) references shop.items;
     insert into shop.items values ('seed', '2026-01-01');`,
  );
  source = await startTestDatabase({ migrations: { shop } });
  target = await startTestDatabase({ migrate: false });
  await sql`insert into shop.items (name) select 'item ' || n from generate_series(1, 1000) n`.execute(
    source.database.sql,
  );
  await sql`insert into shop.orders (parent, item, total, note, raw, tags)
    select null, 'item ' || (n % 1000 + 1), n / 3.0, jsonb_build_object('text', E'tab\\t "q" \\\\ \\n' || n),
      decode(md5(n::text), 'hex'), array['a,b', null, 'c"d']
    from generate_series(1, 20000) n`.execute(source.database.sql);
  await sql`update shop.orders set parent = id + 1 where id < 20000`.execute(source.database.sql);
  await sql`select setval('shop.tickets', 4711)`.execute(source.database.sql);
});
afterAll(async () => {
  await source.stop();
  await target.stop();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  await sql`drop schema if exists shop cascade`.execute(target.database.sql);
  await sql`drop schema if exists kernel cascade`.execute(target.database.sql);
});

const digest = async (db: TestDatabase) => {
  const { rows } = await sql`select
    (select md5(string_agg(o::text, '|' order by id)) from shop.orders o) as orders,
    (select md5(string_agg(i::text, '|' order by name)) from shop.items i) as items`.execute(db.database.sql);
  return rows[0];
};

describe('backup and restore', () => {
  test('brings back every row, sequence and foreign key, and the tables go on working', async () => {
    const file = join(folder, 'whole');
    const written = await writeBackup(source.database, createWriteStream(file));
    expect(written.rows).toBeGreaterThanOrEqual(21_001);
    expect(await restoreBackup(target.database, createReadStream(file), { shop })).toEqual(written);
    expect(await digest(target)).toEqual(await digest(source));
    const last = await sql<{ id: number }>`select last_value as id from shop.orders_id_seq`.execute(
      source.database.sql,
    );
    const { rows } = await sql<{ id: number; ticket: number }>`
      insert into shop.orders (item) values ('seed') returning id, nextval('shop.tickets') as ticket`.execute(
      target.database.sql,
    );
    expect(rows[0]).toEqual({ id: (last.rows[0]?.id ?? 0) + 1, ticket: 4712 });
    const orphan = sql`insert into shop.orders (item) values ('nothing')`.execute(target.database.sql);
    await expect(orphan).rejects.toThrow('foreign key');
    expect(await migrate(target.database, 'shop', shop)).toEqual([]);
  });

  test('is one snapshot, also while others write', async () => {
    let writing = true;
    const writer = (async () => {
      for (let n = 0; writing; n++) {
        await source.database.transaction(async (tx) => {
          await sql`insert into shop.items (name) values (${`pair ${n}`})`.execute(tx);
          await sql`insert into shop.orders (item, total) values (${`pair ${n}`}, ${n})`.execute(tx);
        });
      }
    })();
    const pieces: Buffer[] = [];
    const slow = new Writable({
      highWaterMark: 16_384,
      write: (piece: Buffer, _, done) => {
        pieces.push(piece);
        setTimeout(done, 1);
      },
    });
    await writeBackup(source.database, slow);
    writing = false;
    await writer;
    await restoreBackup(target.database, Readable.from(pieces), { shop });
    const { rows } = await sql<{ items: number; orders: number }>`select
      (select count(*) from shop.items where name like 'pair %') as items,
      (select count(*) from shop.orders where item like 'pair %') as orders`.execute(target.database.sql);
    expect(rows[0]?.items).toBe(rows[0]?.orders);
  });

  test('newer migrations run on the restored rows', async () => {
    const file = join(folder, 'older');
    await writeBackup(source.database, createWriteStream(file));
    const newer = join(folder, 'newer');
    await mkdir(newer);
    for (const name of ['0001-shop.sql', '0002-items.sql']) {
      await writeFile(join(newer, name), await readFile(join(shop, name)));
    }
    await writeFile(
      join(newer, '0003-count.sql'),
      'create table shop.counts as select count(*) as orders from shop.orders;',
    );
    await restoreBackup(target.database, createReadStream(file), { shop: newer });
    const { rows } = await sql<{ orders: number }>`select orders from shop.counts`.execute(
      target.database.sql,
    );
    expect(rows[0]?.orders).toBeGreaterThanOrEqual(20_000);
  });

  test('a damaged or cut file changes nothing, and the restore can be run again', async () => {
    const file = join(folder, 'damaged');
    await writeBackup(source.database, createWriteStream(file));
    const good = await readFile(file);
    await truncate(file, good.length - 100);
    const cut = restoreBackup(target.database, createReadStream(file), { shop });
    await expect(cut).rejects.toMatchObject({ exitCode: 65 });
    const bad = Buffer.from(good);
    randomBytes(16).copy(bad, Math.trunc(good.length / 2));
    await expect(restoreBackup(target.database, Readable.from([bad]), { shop })).rejects.toThrow();
    // Nobody takes the half restored database for a fresh instance.
    await expect(migrateKernel(target.database)).rejects.toThrow('did not come to its end');
    await restoreBackup(target.database, Readable.from([good]), { shop });
    expect(await digest(target)).toEqual(await digest(source));
  });

  test('never writes over an instance in use, and never guesses tables', async () => {
    const pieces: Buffer[] = [];
    const sink = new Writable({
      write: (piece: Buffer, _, done) => {
        pieces.push(piece);
        done();
      },
    });
    await writeBackup(source.database, sink);
    await expect(restoreBackup(source.database, Readable.from(pieces), { shop })).rejects.toThrow(
      'in use already',
    );
    await expect(restoreBackup(target.database, Readable.from(pieces), {})).rejects.toThrow(
      'the component shop',
    );
    await expect(restoreBackup(target.database, Readable.from(['nonsense']), { shop })).rejects.toMatchObject(
      {
        exitCode: 65,
      },
    );
  });

  test('a full disk ends the backup with an error and gives the connection back', async () => {
    const full = new Writable({
      write: (_piece, _encoding, done) =>
        done(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })),
    });
    await expect(writeBackup(source.database, full)).rejects.toThrow('no space left');
    expect(await source.database.ping()).toBe(true);
  });
});
