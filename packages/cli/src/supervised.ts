import { describeError, ExitError } from '@weft/kernel/errors';
import { z } from 'zod';

/** What a child tells its supervisor over the IPC channel. */
export const childMessageSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('failed'), message: z.string(), exitCode: z.int() }),
]);

type ChildMessage = z.output<typeof childMessageSchema>;

/** Set for the children of a supervisor, which live and die with it: to `group` where it has not migrated the database. */
export const SUPERVISED = 'WEFT_SUPERVISED';

/**
 * What the supervisor tells its children: the database answers and is migrated, the configuration is written. Children are
 * started before that, so that their code is loaded while PostgreSQL starts.
 */
export const RELEASE = { type: 'release' } as const;
const releaseSchema = z.object({ type: z.literal(RELEASE.type) });

/** After losing the supervisor a child has this long to drain: children end within a second (DESIGN "Processes"). */
const ORPHAN_MILLISECONDS = 800;

export interface Running {
  stop(): Promise<void>;
}

/** Whether this process has a supervisor. */
export function isSupervised(): boolean {
  return process.env[SUPERVISED] !== undefined;
}

/** Whether a supervisor has brought the database up to date. */
export function isMigrated(): boolean {
  return isSupervised() && process.env[SUPERVISED] !== 'group';
}

/** Resolves when the supervisor lets this process go on; at once when there is none. */
export function released(): Promise<void> {
  if (!isSupervised()) return Promise.resolve();
  return new Promise((resolve) => {
    process.on('message', (message) => {
      if (releaseSchema.safeParse(message).success) resolve();
    });
  });
}

/**
 * Runs a process until it is told to stop: by SIGTERM or SIGINT, or, under a supervisor, by losing it. Tells the supervisor
 * when `start` is done or why it failed. `start` is given a signal that says it need not go on.
 */
export async function runUntilStopped(start: (signal: AbortSignal) => Promise<Running>): Promise<void> {
  const supervised = isSupervised();
  const asked = new AbortController();
  const stopAsked = new Promise<void>((resolve) => asked.signal.addEventListener('abort', () => resolve()));
  process.on('SIGTERM', () => asked.abort());
  // ^C reaches the whole process group; under a supervisor it is the supervisor that decides.
  process.on('SIGINT', () => {
    if (!supervised) asked.abort();
  });
  if (supervised) {
    const orphaned = () => {
      setTimeout(() => process.exit(75), ORPHAN_MILLISECONDS).unref();
      asked.abort();
    };
    if (process.connected) process.on('disconnect', orphaned);
    else orphaned();
  }

  let running: Running;
  try {
    running = await start(asked.signal);
  } catch (error) {
    tell({
      type: 'failed',
      message: describeError(error),
      exitCode: error instanceof ExitError ? error.exitCode : 70,
    });
    // Whatever was half started must not keep a process alive that has said it failed.
    setTimeout(() => process.exit(), ORPHAN_MILLISECONDS).unref();
    throw error;
  }
  tell({ type: 'ready' });
  await stopAsked;
  await running.stop();
  if (process.connected) process.disconnect();
}

function tell(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}
