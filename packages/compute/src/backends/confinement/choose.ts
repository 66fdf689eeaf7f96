import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import { BUILTIN_NODE } from '../../core/images.ts';
import type { Account } from '../../shim/job-file.ts';
import { runContainer } from '../../shim/run-container.ts';
import type { PreparedContainer } from '../back-end.ts';
import { findProgram } from '../programs.ts';
import { bubblewrap } from './bubblewrap.ts';
import type { ConfinedPod, Confinement, ConfinementName } from './confinement.ts';
import { namespaces } from './namespaces.ts';
import { unconfined } from './none.ts';

export interface ChooseOptions {
  wanted: 'auto' | ConfinementName;
  /** That jobs run under; `undefined` for our own, which then is not root. */
  account: Account | undefined;
  /** Whether the shim, too, runs under it (a batch system starts it so), and not as root. */
  shimIsAccount?: boolean;
  pod: Omit<ConfinedPod, 'name'>;
  /** Where the folders of jobs lie: what works there is what counts. */
  workFolder: string;
  log: Logger;
}

/**
 * The strongest confinement that works here, found by running a container with each.
 *
 * @throws {ExitError} 78 when the one that the configuration asks for does not work.
 */
export async function chooseConfinement(options: ChooseOptions): Promise<Confinement> {
  const failures: string[] = [];
  for (const candidate of await candidates(options)) {
    const failure = await tryConfinement(candidate, options);
    if (failure === undefined) {
      if (candidate.name === 'none') {
        options.log.warn({ failures }, 'jobs run unconfined: neither bubblewrap nor namespaces work here');
      }
      return candidate;
    }
    failures.push(`${candidate.name}: ${failure}`);
  }
  throw new ExitError(
    78,
    `No confinement for jobs works in ${options.workFolder} (${failures.join('; ') || `${options.wanted} is not installed`}). ` +
      'Mend: install bubblewrap, or set compute.sites[].work_folder to a folder that the account of the jobs may enter.',
  );
}

async function candidates({ wanted, account: owner, shimIsAccount }: ChooseOptions): Promise<Confinement[]> {
  const account = shimIsAccount ? undefined : owner;
  const self = owner ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const [bwrap, unshare, setpriv] = await Promise.all(['bwrap', 'unshare', 'setpriv'].map(findProgram));
  const all: Confinement[] = [
    ...(bwrap !== undefined && (account === undefined || setpriv !== undefined)
      ? [bubblewrap(bwrap, setpriv ?? '', account)]
      : []),
    ...(unshare !== undefined && setpriv !== undefined
      ? [namespaces({ unshare, setpriv }, account ?? self, account !== undefined)]
      : []),
    unconfined(account),
  ];
  return all.filter(({ name }) => wanted === 'auto' || wanted === name);
}

/** Runs a shell that must not be root and must be able to write to a mounted folder. `undefined`, or what went wrong. */
async function tryConfinement(confinement: Confinement, options: ChooseOptions): Promise<string | undefined> {
  const folder = join(options.workFolder, `probe-${confinement.name}-${process.pid}`);
  const shared = join(folder, 'shared');
  try {
    for (const name of ['private', 'status', 'logs', 'shared']) {
      await mkdir(join(folder, name), { recursive: true, mode: 0o711 });
    }
    if (options.account) await chown(shared, options.account.uid, options.account.gid);
    const container: PreparedContainer = {
      name: 'probe',
      image: BUILTIN_NODE,
      command: [
        '/bin/sh',
        '-c',
        'test "$(id -u)" != 0 && echo yes > "$1" && exec node --version',
        'probe',
        '/probe/works',
      ],
      environment: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      workingDirectory: '/probe',
      mounts: [{ source: shared, target: '/probe', writable: true }],
      memoryLimitBytes: undefined,
    };
    const { run, argumentsFile } = confinement.confine(container, { ...options.pod, name: 'probe' });
    if (argumentsFile !== undefined)
      await writeFile(join(folder, 'private/arguments'), argumentsFile, { mode: 0o600 });
    const started = runContainer(
      folder,
      {
        ...run,
        ...(argumentsFile === undefined ? {} : { argumentsFile: 'private/arguments' }),
        ...(options.shimIsAccount && options.account ? { account: options.account } : {}),
      },
      () => undefined,
    );
    const timer = setTimeout(() => started.kill(), 10_000);
    const { end } = await started.record;
    clearTimeout(timer);
    if (end?.exitCode === 0) return undefined;
    const log = await readFile(join(folder, 'logs/probe.log'), 'utf8');
    return end?.message ?? (log.trim().split('\n').at(-1) || `exit code ${end?.exitCode}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
