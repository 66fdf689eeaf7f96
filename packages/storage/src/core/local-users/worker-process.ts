import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { WeftError } from '@weft/kernel/errors';
import type { z } from 'zod';
import type { Account } from './accounts.ts';
import { type Adopt, loadAdopt } from './adopt-descriptor.ts';
import { createChannel } from './channel.ts';
import { answerMessage, readyMessage, toError } from './file-answers.ts';
import type { FileRequest, WorkerSettings } from './file-calls.ts';
import type { FileCaller } from './remote-files.ts';

/** A process that runs as one local user. */
export interface WorkerProcess extends FileCaller {
  readonly pid: number;
  /** Resolves when it is gone, for whatever reason. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

interface Pending {
  readonly resolve: (answer: { result: unknown; body: Buffer }) => void;
  readonly reject: (error: Error) => void;
}

const PROGRAM = fileURLToPath(new URL('./worker.ts', import.meta.url));
let loadedAdopt: Promise<Adopt> | undefined;

const START_MILLISECONDS = 10_000;
const STOP_MILLISECONDS = 5_000;

/**
 * Starts a worker and hands it out once it answers and the kernel confirms that it has no privilege left.
 *
 * `setpriv` rather than `spawn`'s `uid` and `gid`: those drop the supplementary groups, and keep capabilities that a
 * service without root holds (brief teapot 3.1). The worker dies with this process.
 */
export async function startWorker(account: Account, settings: WorkerSettings): Promise<WorkerProcess> {
  loadedAdopt ??= loadAdopt();
  const adopt = await loadedAdopt;
  const child = spawn(
    'prlimit',
    ['--core=0', 'setpriv', ...dropPrivileges(account), process.execPath, PROGRAM],
    {
      stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
      cwd: '/',
    },
  );
  const worker = talk(child, adopt);
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MILLISECONDS);
  try {
    await worker.ready(settings);
    requireUnprivileged(readFileSync(`/proc/${worker.pid}/status`, 'utf8'), account);
    return worker;
  } catch (cause) {
    child.kill('SIGKILL');
    if (cause instanceof PrivilegeError) throw cause;
    throw new WeftError('unavailable', 'worker-start', `The worker of ${account.name} did not start.`, {
      cause,
    });
  } finally {
    clearTimeout(timer);
  }
}

function dropPrivileges({ uid, gid }: Account): string[] {
  const asRoot = process.getuid?.() === 0;
  return [
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--init-groups',
    '--inh-caps=-all',
    '--ambient-caps=-all',
    // Needs CAP_SETPCAP, which a service that is not root does not hold; it has nothing to lose there.
    ...(asRoot ? ['--bounding-set=-all'] : []),
    '--no-new-privs',
    '--pdeathsig=KILL',
    '--reset-env',
  ];
}

/** The worker runs with rights that it must not have. */
export class PrivilegeError extends Error {
  override readonly name = 'PrivilegeError';
}

/** Compares what the kernel says about a process with what a worker must be. @throws {PrivilegeError} */
export function requireUnprivileged(status: string, { uid, gid, groups }: Account): void {
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*?)\\s*$`, 'm').exec(status)?.[1] ?? '';
  const numbers = (name: string) => field(name).split(/\s+/).filter(Boolean).map(Number);
  const expectAll = (name: string, expected: number) => {
    const values = numbers(name);
    if (values.length !== 4 || values.some((value) => value !== expected))
      throw new PrivilegeError(`The worker has ${name} ${field(name)}, not ${expected}.`);
  };
  expectAll('Uid', uid);
  expectAll('Gid', gid);
  const beyond = numbers('Groups').filter((group) => !groups.includes(group));
  if (beyond.length > 0)
    throw new PrivilegeError(`The worker is in groups that are not its user's: ${beyond}.`);
  for (const name of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb']) {
    if (!/^0+$/.test(field(name))) throw new PrivilegeError(`The worker has ${name} ${field(name)}.`);
  }
  if (field('NoNewPrivs') !== '1') throw new PrivilegeError('The worker may gain privileges.');
}

function talk(
  child: ChildProcess,
  adopt: Adopt,
): WorkerProcess & { ready(settings: WorkerSettings): Promise<void> } {
  const pending = new Map<number, Pending>();
  let last = 0;
  let gone = false;
  let onReady: Pending | undefined;
  const socket = child.stdio[3];
  if (!(socket instanceof Duplex)) throw new Error('A worker needs a socket pair.');

  const ended = new Promise<void>((resolve) => {
    const finish = () => {
      gone = true;
      const error = new WeftError(
        'unavailable',
        'worker-gone',
        'The worker of this user has ended; try again.',
      );
      onReady?.reject(error);
      for (const { reject } of pending.values()) reject(error);
      pending.clear();
      resolve();
    };
    child.on('exit', finish);
    child.on('error', finish);
  });
  // Writing to a worker that has just died; its exit says the rest.
  socket.on('error', () => undefined);

  const channel = createChannel(socket, {
    onViolation: () => child.kill('SIGKILL'),
    onMessage(head, body) {
      if (onReady) {
        const waiting = onReady;
        onReady = undefined;
        const ready = readyMessage.safeParse(JSON.parse(head));
        if (ready.success) waiting.resolve({ result: null, body });
        else waiting.reject(ready.error);
        return;
      }
      const { id, failure, result } = answerMessage.parse(JSON.parse(head));
      const waiting = pending.get(id);
      pending.delete(id);
      if (failure) waiting?.reject(toError(failure));
      else waiting?.resolve({ result, body });
    },
  });

  return {
    pid: child.pid ?? 0,
    ended,
    ready: async (settings) => {
      await new Promise((resolve, reject) => {
        onReady = { resolve, reject };
        channel.send(settings);
      });
    },
    async call<Schema extends z.ZodType>(
      request: FileRequest['request'],
      schema: Schema,
      body?: Uint8Array,
    ): Promise<{ result: z.output<Schema>; body: Buffer }> {
      const answer = await new Promise<{ result: unknown; body: Buffer }>((resolve, reject) => {
        if (gone)
          return reject(new WeftError('unavailable', 'worker-gone', 'The worker of this user has ended.'));
        last += 1;
        pending.set(last, { resolve, reject });
        channel.send({ id: last, request }, body);
      });
      return { result: schema.parse(answer.result), body: answer.body };
    },
    adopt: (descriptor, facts) => adopt(child.pid ?? 0, descriptor, facts),
    async stop() {
      if (gone) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MILLISECONDS);
      await ended;
      clearTimeout(timer);
    },
  };
}
