import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Account } from './accounts.ts';
import { type AdoptFrom, keepDescriptors, loadAdopt } from './adopt-descriptor.ts';
import type { WorkerSettings } from './file-calls.ts';
import { requireUnprivileged } from './privileges.ts';
import type { FileCaller } from './remote-files.ts';
import { createWorkerCalls } from './worker-calls.ts';
import { enterGroup, resourceLimits, type WorkerLimits } from './worker-limits.ts';

/** A process that runs as one local user. */
export interface WorkerProcess extends FileCaller {
  readonly pid: number;
  /** Resolves when it is gone, for whatever reason, with what it said last. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

const execute = promisify(execFile);
let prepared: Promise<{ adoptFrom: AdoptFrom; program: string }> | undefined;

/** What a worker is called in lists of processes, before the name of its account. */
const WORKER_NAME = 'weft-storage-worker';
const MAXIMUM_PROGRAM_BYTES = 16 * 1024 * 1024;

const START_MILLISECONDS = 10_000;
const STOP_MILLISECONDS = 5_000;
const LISTEN_MILLISECONDS = 100;
/** A file system may stand still for long while its servers change places; that is no reason to end anybody. */
const HANG_MILLISECONDS = 5 * 60_000;
/** Of what a worker writes to its standard error, the end. */
const LAST_WORDS = 2_000;

/**
 * Starts a worker and hands it out once it answers and the kernel confirms that it has no privilege left.
 *
 * `setpriv` rather than `spawn`'s `uid` and `gid`: those drop the supplementary groups, and keep capabilities that a
 * service without root holds (brief teapot 3.1). The worker dies with this process. It gets none of our descriptors, not
 * even the log, which it could shorten.
 */
export async function startWorker(
  account: Account,
  settings: WorkerSettings,
  limits: WorkerLimits,
): Promise<WorkerProcess> {
  const { adoptFrom, program } = await prepareWorkers();
  const node = [process.execPath, '--input-type=module', '-', WORKER_NAME, account.name];
  const child = spawn(
    'prlimit',
    [...resourceLimits(limits), 'setpriv', ...dropPrivileges(account), ...node],
    {
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      cwd: '/',
    },
  );
  let leaveGroup = () => Promise.resolve();
  try {
    // It waits for its program.
    if (child.pid !== undefined) leaveGroup = enterGroup(limits, { name: account.name, pid: child.pid });
  } catch (cause) {
    child.on('error', () => undefined).kill('SIGKILL');
    const text = `The worker of ${account.name} cannot be given a group below ${limits.cgroup}.`;
    throw new WeftError('unavailable', 'worker-start', text, { cause });
  }
  // It may be gone before it has read all of it; its exit says so.
  child.stdin?.on('error', () => undefined).end(program);
  const { start, ...worker } = talk(child, adoptFrom);
  // What cannot be taken away is empty, and in nobody's way.
  void worker.ended.then(leaveGroup).catch(() => undefined);
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MILLISECONDS);
  try {
    await start(settings);
    requireUnprivileged(readFileSync(`/proc/${worker.pid}/status`, 'utf8'), account);
    return worker;
  } catch (cause) {
    child.kill('SIGKILL');
    const said = (await worker.ended).trim();
    throw new WeftError('unavailable', 'worker-start', `The worker of ${account.name} did not start.`, {
      cause: said === '' ? cause : new Error(said, { cause }),
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Loads what every start needs, so that the first user need not wait for it. */
export function prepareWorkers(): Promise<{ adoptFrom: AdoptFrom; program: string }> {
  prepared ??= Promise.all([loadAdopt(), loadProgram(), keepDescriptors()]).then(
    ([adoptFrom, program]) => ({ adoptFrom, program }),
    (error: unknown) => {
      prepared = undefined;
      throw error;
    },
  );
  return prepared;
}

/** The worker's program; the folder that it lies in need not be open to the users. */
async function loadProgram(): Promise<string> {
  const printer = fileURLToPath(new URL('./print-worker-program.ts', import.meta.url));
  const { stdout } = await execute(process.execPath, ['--disable-warning=ExperimentalWarning', printer], {
    maxBuffer: MAXIMUM_PROGRAM_BYTES,
  });
  return stdout;
}

/** The groups are those that were looked up, named one by one: nobody is asked a second time. */
function dropPrivileges({ uid, gid, groups }: Account): string[] {
  const asRoot = process.getuid?.() === 0;
  return [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`,
    '--inh-caps=-all',
    '--ambient-caps=-all',
    // Needs CAP_SETPCAP, which a service that is not root does not hold; it has nothing to lose there.
    ...(asRoot ? ['--bounding-set=-all'] : []),
    '--no-new-privs',
    '--pdeathsig=KILL',
    '--reset-env',
  ];
}

function talk(
  child: ChildProcess,
  adoptFrom: AdoptFrom,
): WorkerProcess & { start(settings: WorkerSettings): Promise<void> } {
  const socket = child.stdio[3];
  if (!(socket instanceof Duplex)) throw new Error('A worker needs a socket pair.');
  let words = '';
  let gone = false;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-LAST_WORDS);
  });
  const adopter = child.pid === undefined ? undefined : adoptFrom(child.pid);
  const calls = createWorkerCalls(socket, {
    hangMilliseconds: HANG_MILLISECONDS,
    onViolation(reason) {
      words = reason;
      child.kill('SIGKILL');
    },
  });
  const ended = new Promise<string>((resolve) => {
    const finish = () => {
      gone = true;
      adopter?.close();
      calls.end();
      // What it said last may still be in the pipe, which a child of its own may hold open for ever.
      const listened = setTimeout(() => resolve(words), LISTEN_MILLISECONDS);
      child.on('close', () => {
        clearTimeout(listened);
        resolve(words);
      });
    };
    child.on('exit', finish);
    child.on('error', (error) => {
      words = describeError(error);
      finish();
    });
  });

  return {
    pid: child.pid ?? 0,
    ended,
    start: (settings) => calls.start(settings),
    call: (request, schema, body) => calls.call(request, schema, body),
    adopt: (descriptor, facts) => adopter?.adopt(descriptor, facts),
    async stop() {
      if (gone) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MILLISECONDS);
      await ended;
      clearTimeout(timer);
    },
  };
}
