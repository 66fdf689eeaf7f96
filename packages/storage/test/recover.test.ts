import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestSite, type TestSite } from './start-door.ts';

let site: TestSite;

beforeAll(async () => {
  site = await startTestSite();
});
afterAll(async () => await site.stop());

it('tells of an upload that a killed process had finished on disk only, once', async () => {
  const root = join(site.folder, 'areas', 'observatory');
  const notes = join(site.folder, 'data', 'observatory', 'storage', 'uploads-observatory');
  mkdirSync(root, { recursive: true });
  mkdirSync(notes, { recursive: true });
  writeFileSync(join(root, 'finished'), 'abc');
  writeFileSync(join(root, 'other-content'), 'abd');
  let number = 0;
  const note = (name: string) =>
    JSON.stringify({
      number: ++number,
      intent: { kind: 'upload', path: [name], created: true, sizeBytes: 3, adler32: '024d0127' },
    });
  const leave = () => {
    const name = `${hostname().replace(/[~/]/g, '-')}~999999999~1~0123456789abcdef`;
    writeFileSync(
      join(notes, name),
      ['finished', 'other-content', 'missing'].map((n) => `${note(n)}\n`).join(''),
    );
  };

  leave();
  const door = await site.startDoor('observatory');
  expect((await door.call('HEAD', '/finished')).headers.digest).toBe('adler32=024d0127');
  expect((await door.call('HEAD', '/other-content')).headers.digest).toBeUndefined();
  expect(readdirSync(notes).filter((name) => name.includes('999999999'))).toEqual([]);

  leave();
  await site.startDoor('observatory');
  const { rows } = await sql<{ type: string; subject: string }>`
    select type, subject from kernel.outbox where component = 'storage' order by id`.execute(
    site.database.database.sql,
  );
  expect(rows).toEqual([
    { type: 'file.created', subject: 'observatory:/finished' },
    { type: 'file.closed', subject: 'observatory:/finished' },
  ]);
});
