import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { locateDataFolder } from '../src/data-folder.ts';
import { processStartTime, readInstanceState } from '../src/instance-state.ts';
import { ENTRY, freeBase, weft } from './run-weft.ts';

/** Enough for a services process and three storages; and for the former alone, where it is not about many processes. */
const SEVERAL = ['accounting', 'storage'];
const ONE = ['accounting'];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-life-'));
  chmodSync(folder, 0o711);
});
afterAll(async () => {
  for (const name of readdirSync(folder)) await weft('down', '--data', path.join(folder, name));
  rmSync(folder, { recursive: true, force: true });
});

const statusSchema = z.object({ running: z.boolean(), ready: z.boolean().optional() });

async function status(data: string) {
  const { output } = await weft('status', '--json', '--data', data);
  return statusSchema.parse(JSON.parse(output));
}

/** Every process of an instance: supervisor, children, keeper and server of PostgreSQL, as pid and start time. */
function processesOf(data: string): Map<number, string> {
  const state = readInstanceState(locateDataFolder(data));
  if (!state) throw new Error(`nothing runs in ${data}`);
  const server = Number(
    readFileSync(path.join(data, 'postgres', 'postmaster.pid'), 'utf8').split('\n', 1)[0],
  );
  const pids = [state.supervisor.pid, ...state.processes.map(({ pid }) => pid), server];
  return new Map(pids.map((pid) => [pid, processStartTime(pid) ?? '']));
}

function alive(processes: Map<number, string>): number[] {
  return [...processes].flatMap(([pid, startTime]) => (processStartTime(pid) === startTime ? [pid] : []));
}

/** Anything at all that works in the folder or was told of it on its command line. */
function strays(data: string): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const inside = command.includes(`${data}/`) || readlinkSync(`/proc/${pid}/cwd`).startsWith(`${data}/`);
      return inside ? [`${pid} ${command}`] : [];
    } catch {
      // No process, or ended meanwhile, or somebody else's.
      return [];
    }
  });
}

/** `weft up` in the foreground, in a process group of its own as a shell gives it. */
async function upInForeground(
  components: readonly string[],
  data: string,
  ...more: string[]
): Promise<ChildProcess> {
  const child = spawn(process.execPath, [ENTRY, 'up', ...components, '--data', data, ...more], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    let told = '';
    child.stdout?.on('data', (text: Buffer) => {
      told += text.toString();
      if (told.includes('certificate authority')) resolve();
    });
    child.on('exit', (code) => reject(new Error(`weft up ended with ${code}`)));
  });
  return child;
}

describe('an instance', { timeout: 300_000 }, () => {
  it('runs beside another one, and its end by kill -9 takes its own processes along', async () => {
    const [one, two] = [path.join(folder, 'one'), path.join(folder, 'two')];
    for (const [data, components] of [
      [one, SEVERAL],
      [two, ONE],
    ] as const) {
      const base = String(await freeBase());
      const up = await weft('up', ...components, '--detach', '--data', data, '--port-base', base);
      expect(up.code, up.output).toBe(0);
    }
    expect(await status(one)).toMatchObject({ running: true, ready: true });
    expect(await status(two)).toMatchObject({ running: true, ready: true });

    const ofOne = processesOf(one);
    const ofTwo = processesOf(two);
    const supervisor = readInstanceState(locateDataFolder(one))?.supervisor.pid ?? 0;
    process.kill(supervisor, 'SIGKILL');
    await expect.poll(() => alive(ofOne)).toEqual([]);
    expect(alive(ofTwo)).toHaveLength(ofTwo.size);
    expect((await status(one)).running).toBe(false);

    // What a crash leaves is no obstacle.
    const again = await weft(
      'up',
      ...SEVERAL,
      '--detach',
      '--data',
      one,
      '--port-base',
      String(await freeBase()),
    );
    expect(again.code, again.output).toBe(0);
    for (const data of [one, two]) {
      const processes = processesOf(data);
      const down = await weft('down', '--data', data);
      expect(down.code, down.output).toBe(0);
      expect(alive(processes)).toEqual([]);
      expect(strays(data)).toEqual([]);
      expect(existsSync(locateDataFolder(data).state)).toBe(false);
    }
  });

  it('ends cleanly on ^C, which the whole process group gets, and can be started again at once', async () => {
    const data = path.join(folder, 'three');
    const base = String(await freeBase());
    for (const [round, components] of [
      ['first', SEVERAL],
      ['second', ONE],
    ] as const) {
      const child = await upInForeground(components, data, '--port-base', base);
      const processes = processesOf(data);
      const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
      process.kill(-(child.pid ?? 0), 'SIGINT');
      expect(await ended, round).toBe(0);
      expect(alive(processes)).toEqual([]);
      expect(strays(data)).toEqual([]);
      expect(existsSync(path.join(data, 'postgres', 'postmaster.pid'))).toBe(false);
    }
  });

  it('refuses a second start in the same folder, and goes on', async () => {
    const data = path.join(folder, 'three');
    const base = String(await freeBase());
    const up = await weft('up', ...ONE, '--detach', '--data', data, '--port-base', base);
    expect(up.code, up.output).toBe(0);
    const second = await weft('up', '--data', data, '--port-base', base);
    expect(second.code).toBe(75);
    expect(second.output).toMatch(/already runs .*weft down/);
    expect(await status(data)).toMatchObject({ running: true, ready: true });
    expect((await weft('down', '--data', data)).code).toBe(0);
  });
});
