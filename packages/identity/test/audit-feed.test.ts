import type { Tx } from '@weft/kernel/database';
import { startTestDatabase, type TestDatabase } from '@weft/kernel/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AuditEntry, type AuditLog, createAuditLog, recordAudit } from '../src/core/audit.ts';
import { readAudit, settledThrough } from '../src/core/read-audit.ts';
import type { IdentityTables } from '../src/db/schema.ts';
import { identity } from '../src/index.ts';

let test: TestDatabase;
let log: AuditLog;
beforeAll(async () => {
  test = await startTestDatabase({ migrations: { identity: identity.migrations } });
  log = createAuditLog(tables());
});
afterAll(() => test.stop());

const tables = () => test.database.withTables<IdentityTables>();
const entry = (actor: string): AuditEntry => ({
  realm: 'main',
  actor,
  action: 'test',
  object: '-',
  decision: 'granted',
});

let cursor = '0';
const read = (limit = 1000) => readAudit(tables(), { realm: 'main' }, cursor, limit);
const actors = async () => (await read()).map(({ actor }) => actor);
beforeEach(async () => {
  cursor = String((await read()).at(-1)?.seq ?? cursor);
});

/** A transaction that does something and then stays open until `end`. */
async function open(
  { database }: Pick<TestDatabase, 'database'>,
  what: (tx: Tx<IdentityTables>) => Promise<void>,
) {
  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const over = database.transaction<void, IdentityTables>(async (tx) => {
    await what(tx);
    begun.resolve();
    await ended.promise;
  });
  await Promise.race([begun.promise, over]);
  return async () => {
    ended.resolve();
    await over;
  };
}

describe('the audit feed', () => {
  it('is not held up by who writes other tables or other databases, however long', async () => {
    const elsewhere = await startTestDatabase({ migrate: false });
    const others = [
      await open(test, async (tx) => {
        await sql`insert into identity.sites (name) values ('bulk')`.execute(tx);
      }),
      await open(elsewhere, async (tx) => {
        await sql`create table bulk (id int)`.execute(tx);
      }),
    ];
    try {
      await log.record(entry('meanwhile'));
      expect(await actors()).toEqual(['meanwhile']);
    } finally {
      for (const end of others) await end();
      await elsewhere.stop();
    }
  });

  it('gives out what is older than a long transaction that writes it, and the rest after it, in order', async () => {
    await log.record(entry('before'));
    const end = await open(test, (tx) => recordAudit(tx, entry('long')));
    await log.record(entry('younger'));
    expect(await actors()).toEqual(['before']);
    await end();
    expect(await actors()).toEqual(['before', 'long', 'younger']);
  });

  it('does not wait for what a rolled back transaction would have written', async () => {
    await expect(
      test.database.transaction<void, IdentityTables>(async (tx) => {
        await recordAudit(tx, entry('never'));
        throw new Error('rolled back');
      }),
    ).rejects.toThrow('rolled back');
    await log.record(entry('after it'));
    expect(await actors()).toEqual(['after it']);
  });

  it('waits for a statement that is being committed, and says nothing while it hangs', async () => {
    const end = await open(test, async (tx) => {
      await sql`insert into identity.audit (realm, actor, action, object, decision)
        values ('main', 'slow', 'test', '-', 'granted')`.execute(tx);
    });
    await log.record(entry('younger'));
    expect(await settledThrough(tables(), 0)).toBe(0);
    const reading = actors();
    await end();
    expect(await reading).toEqual(['slow', 'younger']);
  });

  it('shows a follower every row once and in order, whoever writes at the same time', async () => {
    const other = await test.another();
    const writers = [
      createAuditLog(tables()),
      createAuditLog(other.database.withTables<IdentityTables>()),
    ].map(async (concurrent, writer) => {
      for (let at = 0; at < 30; at++)
        await Promise.all([0, 1, 2].map((n) => concurrent.record(entry(`writer ${writer} ${at} ${n}`))));
    });
    const transactions = [test, other].map(async ({ database }, writer) => {
      for (let at = 0; at < 25; at++)
        await database.transaction<void, IdentityTables>(async (tx) => {
          await recordAudit(tx, entry(`transaction ${writer} ${at} first`));
          if (at % 3 === 0) await sql`select pg_sleep(0.003)`.execute(tx);
          await recordAudit(tx, entry(`transaction ${writer} ${at} second`));
        });
    });
    let writing = true;
    const written = Promise.all([...writers, ...transactions]).finally(() => {
      writing = false;
    });
    const followed: number[] = [];
    const follow = async () => {
      const rows = await read(50);
      followed.push(...rows.map(({ seq }) => seq));
      cursor = String(rows.at(-1)?.seq ?? cursor);
      return rows.length;
    };
    const first = cursor;
    while (writing) await follow();
    await written;
    while ((await follow()) > 0);
    const { rows } = await sql<{ seq: number }>`
      select seq from identity.audit where seq > ${first}::bigint order by seq`.execute(tables());
    expect(followed).toHaveLength(2 * 30 * 3 + 2 * 25 * 2);
    expect(followed).toEqual(rows.map(({ seq }) => seq));
  });
});
