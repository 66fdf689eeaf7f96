import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@weft/kernel/telemetry';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Intent, openIntents, parseNotes, recoverIntents } from './intents.ts';
import type { Entry } from './journal.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const intent: Intent = { path: ['a'], made: [], created: true, sizeBytes: 3, adler32: '024d0127' };
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-intents-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('leaves no notes when all was recorded', async () => {
  const written: Entry[] = [];
  const intents = await openIntents(folder, { write: async (entry) => void written.push(entry) }, log);
  expect(
    await intents.carryOut(
      intent,
      async () => 'placed',
      () => ({ account: 'x' }),
    ),
  ).toBe('placed');
  expect(written).toEqual([{ account: 'x' }]);
  await intents.close();
  expect(readdirSync(folder)).toEqual([]);
});

it('does not acknowledge what the database did not take, and records it when it can', async () => {
  const written: Entry[] = [];
  let up = false;
  const journal = {
    write: async (entry: Entry) => {
      if (!up) throw new Error('database is gone');
      written.push(entry);
    },
  };
  const intents = await openIntents(folder, journal, log);
  const upload = intents.carryOut(
    intent,
    async () => undefined,
    () => ({ account: 'x' }),
  );
  await expect(upload).rejects.toMatchObject({ kind: 'unavailable', code: 'not-recorded' });
  up = true;
  await expect.poll(() => written.length, { timeout: 5000 }).toBe(1);
  await intents.close();
  expect(readdirSync(folder)).toEqual([]);
});

it('keeps the notes for the next start when the database stays away', async () => {
  const journal = { write: () => Promise.reject(new Error('database is gone')) };
  const intents = await openIntents(folder, journal, log);
  await expect(
    intents.carryOut(
      intent,
      async () => undefined,
      () => ({}),
    ),
  ).rejects.toThrow();
  await intents.close();
  expect(readdirSync(folder)).toHaveLength(1);
});

it('hands on notes of processes that are gone only, without a line that was cut off', async () => {
  const mine = await openIntents(folder, { write: async () => undefined }, log);
  const name = `${hostname().replace(/[~/]/g, '-')}~999999999~1~0123456789abcdef`;
  writeFileSync(join(folder, name), `${JSON.stringify(intent)}\n{"path":["cut`);
  const found: Intent[] = [];
  await recoverIntents(folder, async (intents) => void found.push(...intents));
  expect(found).toEqual([intent]);
  expect(readdirSync(folder)).toHaveLength(1);
  await mine.close();
});

it('looks at the last note about a name only', () => {
  const later = { ...intent, sizeBytes: 4 };
  expect(parseNotes(`${JSON.stringify(intent)}\n${JSON.stringify(later)}\n`)).toEqual([later]);
});
