import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { configSchema } from '../src/config.ts';
import { removeOldAudit } from '../src/core/remove-old-audit.ts';
import { identity } from '../src/index.ts';
import { createTestBrowser } from './browser.ts';
import { ALICE, BOB, provider, type RunningProvider, startProvider } from './provider.ts';

/** What people see and end of their own, and how long names are kept (threats T17 and T47 of the brief). */
const PASSWORD = 'correct horse battery';
let running: RunningProvider;
beforeAll(async () => {
  running = await startProvider();
});
afterAll(() => running.stop());

const database = () => running.context.database.sql;
const signedIn = async () => {
  const browser = createTestBrowser(running.fetch);
  const page = await browser.signIn('/account', 'alice', PASSWORD);
  return { browser, page };
};
const idsOf = (text: string) =>
  [...text.matchAll(/name="session" value="([0-9a-f-]{36})"/g)].map(([, id]) => id ?? '');
const stillIn = async (browser: ReturnType<typeof createTestBrowser>) =>
  (await browser.get('/account')).text.includes('Your account');

/** A command line that alice has connected. */
async function connect(): Promise<string> {
  const { body } = await running.token({
    ...{ grant_type: 'password', client_id: 'cli', username: 'alice', password: PASSWORD },
    scope: 'openid offline_access',
  });
  return String(body.refresh_token);
}
const refresh = async (refresh_token: string) =>
  (await running.token({ grant_type: 'refresh_token', client_id: 'cli', refresh_token })).status;

it('sees where she is signed in, ends one session, and all', async () => {
  const [mine, other] = [await signedIn(), await signedIn()];
  const ids = idsOf((await mine.browser.get('/account')).text);
  expect(ids).toHaveLength(2);
  for (const [agent, name] of [
    ['Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', 'Firefox on Linux'],
    ['Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) AppleWebKit/605 Version/18 Safari/605', 'Safari on macOS'],
    ['curl/8.1', 'curl'],
    ['<script>x</script>', 'A browser'],
  ]) {
    await sql`update identity.sessions set browser = ${agent}`.execute(database());
    const { text } = await mine.browser.get('/account');
    expect([agent, text.includes(`<div>${name} <strong>`), text.includes('<script>')]).toEqual([
      agent,
      true,
      false,
    ]);
  }
  const own = idsOf(
    (/<li.*?this browser.*?<\/li>/s.exec((await mine.browser.get('/account')).text) ?? [''])[0],
  );
  const theirs = ids.find((id) => !own.includes(id)) ?? '';
  const done = await mine.browser.submitTo('/account/sign-out', { session: theirs });
  expect(done.text).toContain('Signed out there.');
  expect([await stillIn(mine.browser), await stillIn(other.browser)]).toEqual([true, false]);

  const third = await signedIn();
  await third.browser.submitTo('/account/sign-out', { session: 'all' });
  expect([await stillIn(mine.browser), await stillIn(third.browser)]).toEqual([false, false]);
});

it('ends nothing of anybody else, and nothing without a form of ours', async () => {
  const { browser } = await signedIn();
  await sql`insert into identity.sessions (id_hash, realm, subject, expires_at)
    values ('\\x01', 'main', ${BOB}, now() + interval '1 hour')`.execute(database());
  const { rows } = await sql<{ id: string }>`select id from identity.sessions where subject = ${BOB}`.execute(
    database(),
  );
  await browser.submitTo('/account/sign-out', { session: rows[0]?.id ?? '' });
  for (const path of ['/account/sign-out', '/account/disconnect'])
    expect((await browser.post(path, { session: 'all', csrf: 'planted' })).status).toBe(403);
  const { rows: left } = await sql`select from identity.sessions where subject in (${BOB}, ${ALICE})`.execute(
    database(),
  );
  expect(left).toHaveLength(2);
});

it('sees what acts for her, and disconnects it', async () => {
  const token = await connect();
  const { browser, page } = await signedIn();
  expect(page.text).toContain('A command line');
  await browser.submitTo('/account/disconnect', {});
  expect((await browser.get('/account')).text).toContain('None.');
  expect(await refresh(token)).toBe(400);
});

it('takes along everything that is kept about her, and no secret', async () => {
  const token = await connect();
  const { browser } = await signedIn();
  const { text, headers } = await browser.get('/account/data');
  expect(headers.get('content-disposition')).toContain('attachment');
  const data = JSON.parse(text);
  expect(data).toMatchObject({
    person: { sub: ALICE, username: 'alice', email: 'alice@example.org', has_password: true },
    applications: [{ clientId: 'cli' }],
  });
  expect(data.sessions.length).toBeGreaterThan(0);
  const told = data.audit.map(({ action }: { action: string }) => action);
  expect(told).toEqual(expect.arrayContaining(['sign-in', 'token.password', 'application.disconnect']));
  expect(text).not.toContain(BOB);
  for (const secret of [token, ...browser.cookies.values()]) expect(text).not.toContain(secret);
  expect((await createTestBrowser(running.fetch).get('/account/data')).text).toContain('Sign in');
});

it('is forgotten with the account: sessions, connections and codes go at once', async () => {
  await connect();
  await signedIn();
  const { users } = await provider();
  const config = configSchema.parse(
    await provider({ users: (users ?? []).filter(({ username }) => username !== 'alice') }),
  );
  await identity.prepare?.({ ...running.context, config });
  for (const table of ['users', 'sessions', 'refresh_tokens', 'authorization_codes', 'device_codes']) {
    const { rows } =
      await sql`select from ${sql.table(`identity.${table}`)} where subject = ${ALICE}`.execute(database());
    expect([table, rows.length]).toEqual([table, 0]);
  }
});

it('the audit is append-only, and goes when its time has passed, not before', async () => {
  await expect(sql`update identity.audit set actor = 'nobody'`.execute(database())).rejects.toThrow(
    'append-only',
  );
  await expect(sql`delete from identity.audit`.execute(database())).rejects.toThrow('append-only');
  await sql`insert into identity.audit (realm, actor, action, object, decision, at)
    select 'main', 'then', 'test', '-', 'granted', now() - make_interval(days => days) from unnest(array[39, 41, 42]) days`.execute(
    database(),
  );
  const { rows: before } = await sql`select from identity.audit`.execute(database());
  expect(await removeOldAudit(running.context.database, 40, 1)).toBe(1);
  expect(await removeOldAudit(running.context.database, 40, 100)).toBe(1);
  const { rows: after } = await sql`select from identity.audit`.execute(database());
  expect(after).toHaveLength(before.length - 2);
});
