import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { freeBase, weft } from './run-weft.ts';

const data = mkdtempSync(path.join(tmpdir(), 'weft-path-'));

afterAll(() => rmSync(data, { recursive: true, force: true }));

/** `npm start -- --once`, in a folder of its own. */
const demo = (portBase: number) => weft('demo', '--once', '--data', data, '--port-base', String(portBase));

describe('the path of the twin', { timeout: 400_000 }, () => {
  it('ends with the published numbers on an empty data folder, and again on what is there', async () => {
    const portBase = await freeBase();
    const first = await demo(portBase);
    expect(first.code, first.output).toBe(0);
    expect(first.output).toMatch(/\d+ passed, 0 failed/);
    const second = await demo(portBase);
    expect(second.code, second.output).toBe(0);
    expect(second.output).toMatch(/\d+ passed, 0 failed/);
  });
});
