import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestProcess, type TestSite } from './start-door.ts';

let site: TestSite;
let running: TestProcess;
let other: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  other = await site.startDoor('hpc');
  running = await site.prepareProcess('observatory', {}, { log: { level: 'info' } });
  await running.start();
});
afterAll(() => site.stop());

const lines = (): Record<string, unknown>[] =>
  running
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

it('every change can be put down to somebody: who, with which token, from where, how much', async () => {
  const { door } = running;
  const token = await door.token('storage.modify:/', { sub: 'alice', jti: 'the-token' });
  expect((await door.call('PUT', '/a/file?authz=secret', { token, body: 'x'.repeat(5000) })).status).toBe(
    201,
  );
  const put = () => lines().find(({ path, msg }) => path === '/a/file' && msg === 'request');
  await expect.poll(put).toMatchObject({
    method: 'PUT',
    status: 201,
    issuer: site.issuer.issuer,
    subject: 'alice',
    token: 'the-token',
    from: '127.0.0.1',
    received: expect.any(Number),
  });
  expect(Number(put()?.received)).toBeGreaterThanOrEqual(5000);
  expect((await door.call('DELETE', '/a/file', { token: null })).status).toBe(401);
  await expect
    .poll(() => lines().find(({ method }) => method === 'DELETE'))
    .toMatchObject({ status: 401, path: '/a/file' });
  expect(running.output()).not.toContain('secret');
  expect(running.output()).not.toContain(token);
});

it('a third-party copy is told of with its number, its owner and the other side', async () => {
  await other.call('PUT', '/source', { body: 'from elsewhere' });
  const copied = await running.door.call('COPY', '/copied', {
    headers: {
      source: `${other.url}/source?signature=secret`,
      transferheaderauthorization: `Bearer ${await other.token('storage.read:/')}`,
    },
  });
  expect(copied.text).toMatch(/success/);
  await expect
    .poll(() => lines().find(({ msg }) => msg === 'third-party copy'))
    .toMatchObject({
      copy: expect.stringMatching(/^[0-9a-f-]{36}$/),
      direction: 'pull',
      path: '/copied',
      remote: `${other.url}/source`,
      subject: 'alice',
      bytes: 14,
      succeeded: true,
    });
  expect(running.output()).not.toContain('secret');
});
