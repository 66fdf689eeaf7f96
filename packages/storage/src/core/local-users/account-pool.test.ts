import { fileURLToPath } from 'node:url';
import { startTestDatabase, type TestDatabase, testPrincipal } from '@weft/kernel/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AccountPool, expandAccounts, poolMethod } from './account-pool.ts';

const ISSUER = 'https://issuer.example';
let test: TestDatabase;
beforeAll(async () => {
  const migrations = fileURLToPath(new URL('../../db/migrations', import.meta.url));
  test = await startTestDatabase({ migrations: { storage: migrations } });
});
afterAll(() => test.stop());

const pool = (name: string, changes: Partial<AccountPool> = {}) =>
  poolMethod(test.database, 'site', {
    name,
    issuer: ISSUER,
    group: undefined,
    accounts: ['grid1', 'grid2', 'grid3'],
    recycleDays: undefined,
    ...changes,
  });
const user = (subject: string, claims = {}) => testPrincipal({ issuer: ISSUER, subject, ...claims });

describe('accounts of a pool', () => {
  it('are lent one to each user, who keeps it', async () => {
    const { find } = pool('a');
    expect(await find(user('one'))).toBe('grid1');
    expect(await find(user('two'))).toBe('grid2');
    expect(await find(user('one'))).toBe('grid1');
    // Another process of the site, after a restart.
    expect(await pool('a').find(user('two'))).toBe('grid2');
  });

  it('are never lent twice, however many come at once', async () => {
    const [one, other] = [
      pool('b', { accounts: expandAccounts(['g[01-40]']) }),
      pool('b', { accounts: expandAccounts(['g[01-40]']) }),
    ];
    const lent = await Promise.all(
      Array.from({ length: 40 }, (_, index) => (index % 2 ? one : other).find(user(`u${index}`))),
    );
    expect(new Set(lent).size).toBe(40);
    await expect(one.find(user('late'))).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('are for users of the issuer, and members of the group, only', async () => {
    const { find } = pool('c', { group: '/cms' });
    expect(await find(user('one', { groups: ['/cms/uscms'] }))).toBeUndefined();
    expect(await find(user('one', { issuer: 'https://other.example', groups: ['/cms'] }))).toBeUndefined();
    expect(await find(user('one', { groups: ['/cms'] }))).toBe('grid1');
  });

  it('go to somebody else only when nobody has used them for as long as the site says', async () => {
    const accounts = ['grid1', 'grid2'];
    const age = (account: string, days: number) =>
      sql`update storage.account_leases set used_at = now() - make_interval(days => ${days})
        where pool = 'd' and account = ${account}`.execute(test.database.sql);
    for (const subject of ['one', 'two']) await pool('d', { accounts }).find(user(subject));
    await age('grid1', 40);
    await age('grid2', 20);
    await expect(pool('d', { accounts }).find(user('three'))).rejects.toThrow(/left/);
    const recycling = pool('d', { accounts, recycleDays: 30 });
    expect(await recycling.find(user('three'))).toBe('grid1');
    await expect(recycling.find(user('one'))).rejects.toThrow(/left/);
  });

  it('that are taken out of the pool are served no more', async () => {
    await pool('e').find(user('one'));
    expect(await pool('e', { accounts: ['grid2'] }).find(user('one'))).toBe('grid2');
  });
});

it.each([
  [['guest'], ['guest']],
  [['grid[008-010]'], ['grid008', 'grid009', 'grid010']],
  [
    ['a[1-2]b', 'c'],
    ['a1b', 'a2b', 'c'],
  ],
])('%j are %j', (names, expected) => {
  expect(expandAccounts(names)).toEqual(expected);
});
