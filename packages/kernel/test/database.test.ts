import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../src/config/index.ts';
import { clientSettings } from '../src/database/connection.ts';
import { type Database, migrate, openDatabase } from '../src/database/index.ts';
import { ExitError } from '../src/errors/index.ts';
import { startTestDatabase, type TestDatabase } from '../src/testing/test-database.ts';

let db: TestDatabase;
let database: Database;
beforeAll(async () => {
  db = await startTestDatabase();
  database = db.database;
  await sql`create table account (id int primary key, amount bigint not null, at timestamptz, note jsonb, tags text[])`.execute(
    database.sql,
  );
});
afterAll(async () => await db.stop());
beforeEach(async () => {
  await sql`truncate account`.execute(database.sql);
});

async function amount(id: number): Promise<number | undefined> {
  const { rows } = await sql<{ amount: number }>`select amount from account where id = ${id}`.execute(
    database.sql,
  );
  return rows[0]?.amount;
}

describe('transaction', () => {
  test('commits, and tells only then; rolls back, and tells nothing', async () => {
    const told: string[] = [];
    await database.transaction(async (tx) => {
      await sql`insert into account values (1, 5)`.execute(tx);
      tx.afterCommit(() => told.push('committed'));
      expect(told).toEqual([]);
    });
    expect(told).toEqual(['committed']);
    const failing = database.transaction(async (tx) => {
      await sql`update account set amount = 6`.execute(tx);
      tx.afterCommit(() => told.push('rolled back'));
      throw new Error('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    expect(told).toEqual(['committed']);
    expect(await amount(1)).toBe(5);
  });

  test('is tried again on a serialisation failure, and its callbacks run once', async () => {
    await sql`insert into account values (1, 0)`.execute(database.sql);
    let told = 0;
    const add = () =>
      database.transaction(
        async (tx) => {
          const { rows } = await sql<{ amount: number }>`select amount from account where id = 1`.execute(tx);
          await new Promise((resolve) => setTimeout(resolve, 5));
          await sql`update account set amount = ${(rows[0]?.amount ?? 0) + 1} where id = 1`.execute(tx);
          tx.afterCommit(() => {
            told += 1;
          });
        },
        { isolation: 'serializable' },
      );
    await Promise.all([add(), add(), add()]);
    expect(await amount(1)).toBe(3);
    expect(told).toBe(3);
  });

  test('is tried again on a deadlock', async () => {
    await sql`insert into account values (1, 0), (2, 0)`.execute(database.sql);
    const both = (first: number, second: number) =>
      database.transaction(async (tx) => {
        await sql`update account set amount = amount + 1 where id = ${first}`.execute(tx);
        await new Promise((resolve) => setTimeout(resolve, 50));
        await sql`update account set amount = amount + 1 where id = ${second}`.execute(tx);
      });
    await Promise.all([both(1, 2), both(2, 1)]);
    expect([await amount(1), await amount(2)]).toEqual([2, 2]);
  });

  test('a connection that is cut in the middle fails the transaction and nothing else', async () => {
    const cut = database.transaction(async (tx) => {
      await sql`insert into account values (9, 9)`.execute(tx);
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
      await sql`select pg_terminate_backend(${rows[0]?.pid})`.execute(database.sql);
      await sql`select 1`.execute(tx);
    });
    await expect(cut).rejects.toThrow();
    expect(await amount(9)).toBeUndefined();
    expect(await database.ping()).toBe(true);
  });
});

describe('values and sets', () => {
  test('bigint arrives as a number, never a rounded one; timestamps as Date; dates as text', async () => {
    const { rows } = await sql`select 9007199254740991::bigint as large, 1.50::numeric as exact,
      '2010-12-01'::date as day, '2010-12-01T00:00:00Z'::timestamptz as at`.execute(database.sql);
    expect(rows[0]).toEqual({
      large: Number.MAX_SAFE_INTEGER,
      exact: '1.50',
      day: '2010-12-01',
      at: new Date('2010-12-01T00:00:00Z'),
    });
    await expect(sql`select 9007199254740993::bigint as large`.execute(database.sql)).rejects.toThrow(
      'select it as text',
    );
    expect(await database.ping()).toBe(true);
  });

  test('copyIn loads rows of every kind inside the transaction', async () => {
    const when = new Date('2026-01-01T00:00:00Z');
    const note = { text: 'tab\there, "quote", back\\slash,\nline' };
    const tags = ['plain', 'comma,', 'quo"te', 'back\\slash', 'new\nline'];
    await database.transaction(async (tx) => {
      const rows = (function* () {
        yield [1, 10, when, note, tags];
        for (let id = 2; id <= 5_000; id++) yield [id, id * 10, null, null, []];
      })();
      expect(await database.copyIn(tx, 'account', ['id', 'amount', 'at', 'note', 'tags'], rows)).toBe(5_000);
    });
    const { rows } = await sql`select * from account where id = 1`.execute(database.sql);
    expect(rows[0]).toEqual({ id: 1, amount: 10, at: when, note, tags });
    const failing = database.transaction(async (tx) => {
      await database.copyIn(tx, 'account', ['id', 'amount'], [[10_000, 1]]);
      await database.copyIn(tx, 'account', ['id', 'amount'], [[1, 1]]);
    });
    await expect(failing).rejects.toThrow('account_pkey');
    expect(await amount(10_000)).toBeUndefined();
  });

  test('stream gives rows one by one and lets go of the connection when the reader stops early', async () => {
    const query = sql<{ n: number }>`select n from generate_series(1, 100000) as n`;
    let total = 0;
    for await (const row of database.stream(query)) total += row.n;
    expect(total).toBe(5_000_050_000);
    for (let round = 0; round < 30; round++) {
      for await (const row of database.stream(query, { batch: 10 })) if (row.n === 15) break;
    }
    const abort = new AbortController();
    const aborted = (async () => {
      for await (const row of database.stream(query, { signal: abort.signal }))
        if (row.n === 20) abort.abort();
    })();
    await expect(aborted).rejects.toThrow('aborted');
    expect(await database.ping()).toBe(true);
  });
});

describe('wake-ups', () => {
  test('a commit wakes listeners here and in other processes; a rollback wakes nobody', async () => {
    const other = await db.another();
    const heard = { here: 0, there: 0 };
    db.wakeUps.on('test', () => {
      heard.here += 1;
    });
    other.wakeUps.on('test', () => {
      heard.there += 1;
    });
    // Both are called once when they listen: work may have come before.
    await expect.poll(() => heard).toEqual({ here: 1, there: 1 });
    await database.transaction(async (tx) => db.wakeUps.wake(tx, 'test'));
    expect(heard.here).toBe(2);
    await expect.poll(() => heard.there).toBe(2);
    await database
      .transaction(async (tx) => {
        db.wakeUps.wake(tx, 'test');
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(heard).toEqual({ here: 2, there: 2 });
  });

  test('many wakes in a moment are few notifications, and the last is not lost', async () => {
    const other = await db.another();
    let there = 0;
    other.wakeUps.on('burst', () => {
      there += 1;
    });
    await expect.poll(() => there).toBe(1);
    for (let round = 0; round < 1_000; round++) db.wakeUps.wakeNow('burst');
    await expect.poll(() => there).toBeGreaterThan(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(there).toBeLessThan(6);
  });

  test('a lost listening connection is made again and everybody is called', async () => {
    const other = await db.another();
    let there = 0;
    other.wakeUps.on('again', () => {
      there += 1;
    });
    await expect.poll(() => there).toBe(1);
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'weft wake-ups' and datname = current_database()`.execute(
      database.sql,
    );
    await expect.poll(() => there).toBe(2);
    await expect
      .poll(
        () => {
          db.wakeUps.wakeNow('again');
          return there;
        },
        { interval: 50 },
      )
      .toBeGreaterThan(2);
  });

  test('the listening connection is asked one thing at a time, as pg 9 will demand', async () => {
    const warnings: string[] = [];
    const note = (warning: Error) => warnings.push(warning.message);
    process.on('warning', note);
    const other = await db.another();
    const heard = new Set<number>();
    const offs = Array.from({ length: 30 }, (_, n) => other.wakeUps.on(`busy-${n}`, () => heard.add(n)));
    for (let n = 0; n < 30; n++) other.wakeUps.wakeNow(`busy-${n}`);
    await expect.poll(() => heard.size).toBe(30);
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'weft wake-ups' and datname = current_database()`.execute(
      database.sql,
    );
    heard.clear();
    await expect.poll(() => heard.size).toBe(30);
    for (const off of offs) off();
    for (let n = 0; n < 30; n++) other.wakeUps.on(`other-${n}`, () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 100));
    process.off('warning', note);
    expect(warnings.filter((message) => message.includes('already executing'))).toEqual([]);
  });

  test('channel names may be long and odd', async () => {
    const other = await db.another();
    const channel = `${'long "quoted" channel; '.repeat(8)}`;
    let there = 0;
    other.wakeUps.on(channel, () => {
      there += 1;
    });
    await expect.poll(() => there).toBe(1);
    db.wakeUps.wakeNow(channel);
    await expect.poll(() => there).toBe(2);
  });
});

describe('migrate', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-migrations-'));
    return async () => await rm(folder, { recursive: true });
  });
  const write = async (file: string, text: string) => await writeFile(join(folder, file), text);

  test('applies each file once and in order, however many processes start at once', async () => {
    await write(
      '0001-one.sql',
      'create schema twice; create table twice.t (n int); insert into twice.t values (1);',
    );
    await write('0002-two.sql', 'insert into twice.t select max(n) + 1 from twice.t;');
    const other = await db.another();
    const applied = await Promise.all([
      migrate(database, 'twice', folder),
      migrate(other.database, 'twice', folder),
      migrate(database, 'twice', folder),
    ]);
    expect(applied.flat().sort()).toEqual(['0001-one.sql', '0002-two.sql']);
    expect((await sql`select n from twice.t order by n`.execute(database.sql)).rows).toEqual([
      { n: 1 },
      { n: 2 },
    ]);
    expect(await migrate(database, 'twice', folder)).toEqual([]);
  });

  test('a failing file leaves nothing behind, names itself, and may be corrected', async () => {
    await write('0001-broken.sql', 'create table half (n int); select wrong;');
    await expect(migrate(database, 'broken', folder)).rejects.toThrow(
      /broken\/0001-broken.sql failed.*"wrong"/,
    );
    expect((await sql`select to_regclass('half') as t`.execute(database.sql)).rows).toEqual([{ t: null }]);
    await write('0001-broken.sql', 'create table whole (n int);');
    expect(await migrate(database, 'broken', folder)).toEqual(['0001-broken.sql']);
  });

  test('an applied file that was edited, and a migration of a newer version, end the start with the mend', async () => {
    await write('0001-first.sql', 'select 1;');
    await write('0002-second.sql', 'select 2;');
    await migrate(database, 'edited', folder);
    await write('0001-first.sql', 'select 3;');
    const edited = await migrate(database, 'edited', folder).catch((error: unknown) => error);
    expect(edited).toBeInstanceOf(ExitError);
    expect(String(edited)).toContain('edited/0001-first.sql was changed after it had been applied');
    await write('0001-first.sql', 'select 1;');
    await rm(join(folder, '0002-second.sql'));
    await expect(migrate(database, 'edited', folder)).rejects.toThrow('written by a newer Weft');
  });
});

describe('openDatabase', () => {
  test('says what is wrong: unreachable, wrong password, no such database', async () => {
    const { log } = db;
    const unreachable = openDatabase({ url: 'postgres://weft:x@127.0.0.1:1/weft', log });
    await expect(unreachable).rejects.toMatchObject({
      exitCode: 69,
      message: expect.stringContaining('cannot be reached'),
    });
    const { host, port, user, password, database: name } = clientSettings(db.target, 'test');
    if (host === undefined || user === undefined || typeof password !== 'string' || name === undefined)
      return;
    const good = { host, port: port ?? 5432, user, password: new Secret(password), database: name };
    const refused = openDatabase({ connection: { ...good, password: new Secret('wrong') }, log });
    await expect(refused).rejects.toMatchObject({ exitCode: 77 });
    const absent = openDatabase({ connection: { ...good, database: 'nowhere' }, log });
    await expect(absent).rejects.toMatchObject({ exitCode: 78 });
  });

  test('a message never holds the password', async () => {
    const url = 'postgres://weft:hunter2@127.0.0.1:1/weft';
    const error = await openDatabase({ url, log: db.log }).catch((reason: unknown) => reason);
    expect(String(error)).toContain('weft@127.0.0.1:1/weft');
    expect(String(error)).not.toContain('hunter2');
  });

  test('sessions are told apart and speak UTC', async () => {
    const client = new pg.Client(clientSettings(db.target, 'my name'));
    await client.connect();
    const { rows } = await client.query(
      `select current_setting('timezone') as zone, current_setting('application_name') as name`,
    );
    await client.end();
    expect(rows).toEqual([{ zone: 'UTC', name: 'my name' }]);
  });
});
