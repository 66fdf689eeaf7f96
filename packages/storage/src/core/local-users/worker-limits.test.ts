import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enterGroup, resourceLimits } from './worker-limits.ts';

const MEBIBYTE = 1024 * 1024;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-group-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(process.platform !== 'linux')('limits of workers', () => {
  const run = (program: string) =>
    execFileSync(
      'prlimit',
      [
        ...resourceLimits({ memoryBytes: 128 * MEBIBYTE, cgroup: undefined }),
        process.execPath,
        '-e',
        program,
      ],
      { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' },
    );

  it('leave room for what is allowed, and end what wants more', () => {
    const take = (mebibytes: number) => `
      const taken = [];
      for (let each = 0; each < ${mebibytes / 8}; each++) taken.push(Buffer.alloc(${8 * MEBIBYTE}, 1));
      console.log(taken.length);`;
    expect(run(take(64))).toBe('8\n');
    expect(() => run(take(512))).toThrow();
  });

  it('are those of a group of its own where there is one', async () => {
    const limits = { memoryBytes: 64 * MEBIBYTE, cgroup: folder };
    expect(resourceLimits(limits).join(' ')).not.toMatch(/data/);
    enterGroup(limits, { name: 'alice', pid: 4711 });
    const written = (file: string) => readFileSync(join(folder, 'weft-worker-alice-4711', file), 'utf8');
    expect([written('memory.max'), written('cgroup.procs'), written('memory.oom.group')]).toEqual([
      String(64 * MEBIBYTE),
      '4711',
      '1',
    ]);
    expect(() => enterGroup({ ...limits, cgroup: join(folder, 'missing') }, { name: 'a', pid: 1 })).toThrow(
      /ENOENT/,
    );
  });
});
