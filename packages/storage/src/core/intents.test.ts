import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@weft/kernel/telemetry';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Intent, type OpenIntent, openIntents, parseNotes, recoverIntents } from './intents.ts';
import type { Entry, Journal } from './journal.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const intent: Intent = { kind: 'upload', path: ['a'], created: true, sizeBytes: 3, adler32: '024d0127' };
const removal: Intent = { kind: 'remove', path: ['b'], inode: '7', collection: false };
let folder: string;

function journalOf(write: Journal['write'], settled: readonly number[] = []): Journal {
  return { write, settledNotes: async () => new Set(settled), forgetNotes: async () => undefined };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-intents-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('leaves no notes when all was recorded', async () => {
  const written: Entry[] = [];
  const intents = await openIntents(
    folder,
    journalOf(async (entry) => void written.push(entry)),
    log,
  );
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
  const journal = journalOf(async (entry) => {
    if (!up) throw new Error('database is gone');
    written.push(entry);
  });
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
  const journal = journalOf(() => Promise.reject(new Error('database is gone')));
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

it('hands on notes of processes that are gone only, without a line that was cut off and without what was settled', async () => {
  const mine = await openIntents(
    folder,
    journalOf(async () => undefined),
    log,
  );
  const name = `${hostname().replace(/[~/]/g, '-')}~999999999~1~0123456789abcdef`;
  const lines = [1, 2, 3].map((number) => `${JSON.stringify({ number, intent: removal })}\n`).join('');
  writeFileSync(join(folder, name), `${lines}{"void":1}\n{"number":4,"inte`);
  const found: OpenIntent[] = [];
  const journal = journalOf(async () => undefined, [2]);
  await recoverIntents(folder, journal, async (intents) => void found.push(...intents));
  expect(found).toEqual([{ note: { file: name, number: 3 }, intent: removal }]);
  expect(readdirSync(folder)).toHaveLength(1);
  await mine.close();
});

it('looks at the last upload of a name only, and at every other change', () => {
  const later = { ...intent, sizeBytes: 4 };
  const text = [intent, removal, later, removal]
    .map((one, index) => `${JSON.stringify({ number: index + 1, intent: one })}\n`)
    .join('');
  expect(parseNotes('f', text).map(({ note, intent: noted }) => [note.number, noted])).toEqual([
    [2, removal],
    [3, later],
    [4, removal],
  ]);
});

it('says which note an entry settles, but for uploads, which show in the checksums', async () => {
  const written: Entry[] = [];
  const intents = await openIntents(
    folder,
    journalOf(async (entry) => void written.push(entry)),
    log,
  );
  const act = async () => undefined;
  await intents.carryOut(intent, act, () => ({}));
  await intents.carryOut(removal, act, () => ({}));
  expect(written.map(({ note }) => note?.number)).toEqual([undefined, 2]);
  await intents.close();
});
