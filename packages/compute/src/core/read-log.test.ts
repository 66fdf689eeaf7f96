import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LogOptions, readLog } from './read-log.ts';

const folder = mkdtempSync(join(tmpdir(), 'weft-log-'));
const ALL: LogOptions = {
  tailLines: undefined,
  limitBytes: undefined,
  timestamps: false,
  since: undefined,
  follow: false,
};

async function read(lines: readonly string[], options: Partial<LogOptions>): Promise<string> {
  const file = join(folder, 'log');
  writeFileSync(file, lines.map((line) => `2026-01-02T03:04:05.000000000Z stdout F ${line}\n`).join(''));
  const parts: Buffer[] = [];
  const log = readLog(file, { ...ALL, ...options }, async () => true, new AbortController().signal);
  for await (const part of log) parts.push(part);
  return Buffer.concat(parts).toString();
}

test('the last lines are the last lines, however long they are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.string({ maxLength: 5 }).map((text) => text.replaceAll('\n', ' ').repeat(4000)),
        { maxLength: 12 },
      ),
      fc.nat(15),
      async (lines, tail) => {
        const expected = lines.slice(Math.max(0, lines.length - tail)).map((line) => `${line}\n`);
        expect(await read(lines, { tailLines: tail })).toBe(tail === 0 ? '' : expected.join(''));
      },
    ),
    { numRuns: 30 },
  );
});

test('a limit cuts after so many bytes', async () => {
  expect(await read(['abc', 'def'], { limitBytes: 5 })).toBe('abc\nd');
});
