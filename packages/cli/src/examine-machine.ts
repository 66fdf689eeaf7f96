import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { totalmem } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { installedBinaries, SERVER_ACCOUNT } from '@weft/kernel/database';
import { describeError } from '@weft/kernel/errors';
import { COMPONENT_NAMES } from './components.ts';
import type { DataFolder } from './data-folder.ts';
import { endpointsOf } from './endpoints.ts';
import { SITES } from './federation.ts';
import { readInstanceState } from './instance-state.ts';
import { addressesOf, bindReason, unavailable } from './ports-in-use.ts';

const run = promisify(execFile);

export interface Finding {
  readonly name: string;
  /** `bad` keeps Weft from starting; `note` takes something away. */
  readonly state: 'good' | 'note' | 'bad';
  readonly found: string;
  readonly mend?: string;
}

const GIBIBYTE = 2 ** 30;
/** A cluster takes 60 MB, its log up to 1 GiB (max_wal_size). */
const ENOUGH_DISK = 2 * GIBIBYTE;
const LITTLE_DISK = 256 * 2 ** 20;

/** Looks at everything that a start on the embedded default needs; changes nothing. */
export async function examine(folder: DataFolder, portBase: number | undefined): Promise<Finding[]> {
  return [
    node(),
    memory(),
    await postgres(),
    await account(),
    ...dataFolder(folder),
    await ports(folder, portBase),
    await loopback(),
    ...(await confinement()),
    await slurm(),
  ];
}

function node(): Finding {
  const found = `Node ${process.versions.node}`;
  const recent = Number(process.versions.node.split('.')[0]) >= 24;
  if (recent) return { name: 'node', state: 'good', found };
  return { name: 'node', state: 'bad', found, mend: 'Install Node 24 or newer.' };
}

function memory(): Finding {
  const gibibytes = totalmem() / GIBIBYTE;
  const found = `${gibibytes.toFixed(1)} GiB`;
  if (gibibytes >= 1.8) return { name: 'memory', state: 'good', found };
  return {
    name: 'memory',
    state: 'note',
    found,
    mend: 'The embedded default is made for 2 GiB; leave components out.',
  };
}

async function postgres(): Promise<Finding> {
  const name = 'postgresql';
  try {
    const { folder } = await installedBinaries();
    const { stdout } = await run(path.join(folder, 'bin', 'postgres'), ['--version'], {
      env: { LD_LIBRARY_PATH: path.join(folder, 'lib') },
    });
    return { name, state: 'good', found: `${stdout.trim()} (embedded)` };
  } catch (error) {
    return {
      name,
      state: 'bad',
      found: `The embedded PostgreSQL does not run: ${describeError(error).split('\n')[0]}`,
      mend: 'Run npm install without --omit=optional, or set database.url to a PostgreSQL 15 or newer.',
    };
  }
}

/** PostgreSQL refuses to run as root. */
async function account(): Promise<Finding> {
  const name = 'account';
  if (process.getuid?.() !== 0) return { name, state: 'good', found: 'an ordinary user runs everything' };
  const there = await run('id', ['-u', SERVER_ACCOUNT]).then(
    () => true,
    () => false,
  );
  if (there) return { name, state: 'good', found: `root; PostgreSQL runs as ${SERVER_ACCOUNT}` };
  const tools = ['/usr/sbin/useradd', '/usr/sbin/adduser', '/sbin/adduser'];
  if (tools.some((tool) => existsSync(tool)))
    return { name, state: 'good', found: `root; the account ${SERVER_ACCOUNT} is made at the first start` };
  return {
    name,
    state: 'bad',
    found: `root, without the account ${SERVER_ACCOUNT} and without a tool to make it`,
    mend: `Make the system account ${SERVER_ACCOUNT}, or run Weft as an ordinary user.`,
  };
}

function dataFolder(folder: DataFolder): Finding[] {
  const name = 'data folder';
  // The nearest folder that is there decides whether ours can be made.
  let place = folder.root;
  while (!existsSync(place)) place = path.dirname(place);
  try {
    accessSync(place, constants.W_OK | constants.X_OK);
  } catch {
    const mend = 'Give another with --data, or make it yours.';
    return [{ name, state: 'bad', found: `${place} cannot be written to`, mend }];
  }
  const { bavail, bsize } = statfsSync(place);
  const free = bavail * bsize;
  const found = `${(free / GIBIBYTE).toFixed(1)} GiB free`;
  const mend = 'Make room, or choose another --data.';
  const state = free < LITTLE_DISK ? 'bad' : free < ENOUGH_DISK ? 'note' : 'good';
  return [
    { name, state: 'good', found: folder.root },
    { name: 'disk', state, found, ...(state === 'good' ? {} : { mend }) },
  ];
}

async function ports(folder: DataFolder, portBase: number | undefined): Promise<Finding> {
  const name = 'ports';
  const running = readInstanceState(folder);
  if (running)
    return { name, state: 'good', found: `in use by this instance (pid ${running.supervisor.pid})` };
  const addresses = addressesOf(endpointsOf(folder, portBase), COMPONENT_NAMES);
  const taken = (await unavailable(addresses)).filter(({ reason }) => reason !== 'EADDRNOTAVAIL');
  if (taken.length === 0) return { name, state: 'good', found: `all ${addresses.length} are free` };
  const list = taken.map(({ component, host, port, reason }) => `${component} ${host}:${port} (${reason})`);
  return { name, state: 'bad', found: list.join(', '), mend: 'Choose others with --port-base N.' };
}

async function loopback(): Promise<Finding> {
  const name = 'loopback';
  const hosts = [...new Set(SITES.map(({ host }) => (host === 'localhost' ? '127.0.0.1' : host)))];
  const reasons = await Promise.all(hosts.map((host) => bindReason({ host, port: 0 })));
  const missing = hosts.filter((_, index) => reasons[index] !== undefined);
  if (missing.length === 0) return { name, state: 'good', found: `${hosts.join(', ')} can be bound` };
  return {
    name,
    state: 'bad',
    found: `${missing.join(', ')} cannot be bound`,
    mend: `Add them: ${missing.map((host) => `ip address add ${host}/8 dev lo`).join('; ')}.`,
  };
}

/** Jobs of the sandbox back end are confined by whichever of these there is. */
async function confinement(): Promise<Finding[]> {
  const bubblewrap = await firstLine('bwrap', ['--version']);
  const namespaces = await firstLine('unshare', ['--user', '--map-root-user', '--net', 'echo', 'works']);
  return [
    bubblewrap === undefined
      ? {
          name: 'bubblewrap',
          state: 'note',
          found:
            namespaces === 'works'
              ? 'not here; jobs are confined by namespaces'
              : 'not here, and no namespaces: jobs run with less confinement',
          mend: 'Install it: apt-get install bubblewrap.',
        }
      : { name: 'bubblewrap', state: 'good', found: bubblewrap },
    namespaces === 'works'
      ? { name: 'namespaces', state: 'good', found: 'user and network namespaces can be made' }
      : {
          name: 'namespaces',
          state: 'note',
          found: 'user namespaces cannot be made here',
          mend: 'sysctl kernel.unprivileged_userns_clone=1 (or let the container have them).',
        },
  ];
}

async function slurm(): Promise<Finding> {
  const name = 'slurm';
  const version = await firstLine('sbatch', ['--version']);
  if (version === undefined)
    return {
      name,
      state: 'note',
      found: 'no sbatch that works: site hpc runs its jobs in the sandbox',
      mend: 'Nothing to do, unless this is a Slurm host: then see sbatch --version.',
    };
  const answers = await firstLine('scontrol', ['ping']);
  const up = answers?.includes('UP') === true;
  return up
    ? { name, state: 'good', found: `${version}, the controller answers` }
    : { name, state: 'note', found: `${version}, the controller does not answer: site hpc uses the sandbox` };
}

/** The first line that a program prints; `undefined` when it is not there or fails. */
async function firstLine(program: string, options: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await run(program, [...options], { timeout: 3000 });
    return stdout.split('\n')[0]?.trim();
  } catch {
    return undefined;
  }
}
