import { spawn } from 'node:child_process';
import { openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import { COMPONENT_NAMES, type ComponentName, isComponentName } from '../components.ts';
import { type DataFolder, locateDataFolder, openDataFolder } from '../data-folder.ts';
import { endpointsOf } from '../endpoints.ts';
import { readInstanceState } from '../instance-state.ts';
import { ENTRY } from '../own-program.ts';
import { addressesOf, unavailable } from '../ports-in-use.ts';
import { printEndpoints } from '../print-endpoints.ts';
import { childMessageSchema, runUntilStopped } from '../supervised.ts';
import type { RunningInstance } from '../supervisor.ts';

export interface UpOptions {
  readonly data: string;
  readonly portBase?: number;
  readonly logLevel: string;
  readonly without?: string;
  readonly detach?: boolean;
}

export async function up(names: readonly string[], options: UpOptions): Promise<void> {
  const components = chooseComponents(names, options.without);
  const folder = locateDataFolder(options.data);
  if (options.detach) return detach(names, options, folder);
  await runUntilStopped(async (signal) => {
    const instance = await startEmbedded(folder, components, { ...options, signal });
    printEndpoints(endpointsOf(folder, options.portBase), components);
    return instance;
  });
}

/** Starts an instance in `folder`; refuses when one already runs there, or when a port is taken. */
export async function startEmbedded(
  folder: DataFolder,
  components: readonly ComponentName[],
  options: { portBase?: number; logLevel: string; signal?: AbortSignal },
): Promise<RunningInstance> {
  refuseSecond(folder);
  await refuseTakenPorts(folder, components, options.portBase);
  openDataFolder(folder.root);
  const { startInstance } = await import('../supervisor.ts');
  const { createLogger } = await import('@weft/kernel/telemetry');
  const logFile = openSync(path.join(folder.logs, 'supervisor.log'), 'a', 0o600);
  return startInstance({
    folder,
    components,
    portBase: options.portBase,
    async prepare(socketFolder) {
      const { prepareEmbedded } = await import('../embedded.ts');
      await prepareEmbedded(folder, {
        portBase: options.portBase,
        logLevel: options.logLevel,
        socketFolder,
      });
    },
    log: createLogger({ name: 'supervisor', write: (line) => void writeSync(logFile, line) }),
    ...(options.signal ? { signal: options.signal } : {}),
  });
}

function refuseSecond(folder: DataFolder): void {
  const running = readInstanceState(folder);
  if (!running) return;
  throw new ExitError(
    75,
    `An instance already runs in ${folder.root} (pid ${running.supervisor.pid}). Mend: weft down, or another --data and --port-base.`,
  );
}

/** Before anything is started: a port that is taken would be noticed only when half of the processes run. */
async function refuseTakenPorts(
  folder: DataFolder,
  components: readonly ComponentName[],
  portBase: number | undefined,
): Promise<void> {
  const [first] = await unavailable(addressesOf(endpointsOf(folder, portBase), components));
  if (!first) return;
  const mend =
    first.reason === 'EADDRNOTAVAIL'
      ? `add the address to the loopback interface (weft doctor)`
      : `choose other ports with --port-base N${portBase === undefined ? '' : `, not ${portBase}`}`;
  throw new ExitError(
    71,
    `${first.component} cannot listen on ${first.host}:${first.port} (${first.reason}). Mend: ${mend}.`,
  );
}

export function chooseComponents(names: readonly string[], without: string | undefined): ComponentName[] {
  const asked = names.length > 0 ? names : COMPONENT_NAMES;
  for (const name of [...asked, ...(without === undefined ? [] : [without])]) {
    if (!isComponentName(name)) {
      throw new ExitError(64, `There is no component ${name}. Components: ${COMPONENT_NAMES.join(', ')}.`);
    }
  }
  return COMPONENT_NAMES.filter((name) => asked.includes(name) && name !== without);
}

/** Runs `weft up` in a session of its own and returns when it is ready. */
async function detach(names: readonly string[], options: UpOptions, folder: DataFolder): Promise<void> {
  refuseSecond(folder);
  await refuseTakenPorts(folder, chooseComponents(names, options.without), options.portBase);
  openDataFolder(folder.root);
  const output = openSync(path.join(folder.logs, 'supervisor.log'), 'a', 0o600);
  const child = spawn(
    process.execPath,
    [
      ENTRY,
      'up',
      ...names,
      '--data',
      folder.root,
      '--log-level',
      options.logLevel,
      ...(options.portBase === undefined ? [] : ['--port-base', String(options.portBase)]),
      ...(options.without === undefined ? [] : ['--without', options.without]),
    ],
    { detached: true, stdio: ['ignore', output, output, 'ipc'] },
  );
  await new Promise<void>((resolve, reject) => {
    child.on('message', (raw) => {
      const message = childMessageSchema.safeParse(raw);
      if (!message.success) return;
      if (message.data.type === 'ready') resolve();
      else reject(new ExitError(message.data.exitCode, message.data.message));
    });
    child.on('error', reject);
    child.on('exit', (code) =>
      reject(new ExitError(70, `weft up ended with code ${code}; see ${folder.logs}/supervisor.log`)),
    );
  });
  child.disconnect();
  child.unref();
  printEndpoints(
    endpointsOf(locateDataFolder(options.data), options.portBase),
    chooseComponents(names, options.without),
  );
}
