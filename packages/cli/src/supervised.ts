import { describeError, ExitError } from '@weft/kernel/errors';
import { z } from 'zod';

/** What a child tells its supervisor over the IPC channel. */
export const childMessageSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('failed'), message: z.string(), exitCode: z.int() }),
]);

type ChildMessage = z.output<typeof childMessageSchema>;

/** Set for the children of a supervisor, which live and die with it. */
export const SUPERVISED = 'WEFT_SUPERVISED';

/** After losing the supervisor a child has this long to drain: children end within a second (DESIGN "Processes"). */
const ORPHAN_MILLISECONDS = 800;

/**
 * Runs a process until it is told to stop: by SIGTERM or SIGINT, or, under a supervisor, by losing it. Tells the supervisor
 * when `start` is done or why it failed.
 */
export async function runUntilStopped(start: () => Promise<{ stop(): Promise<void> }>): Promise<void> {
  const supervised = process.env[SUPERVISED] !== undefined;
  const asked = Promise.withResolvers<'signal' | 'orphaned'>();
  process.on('SIGTERM', () => asked.resolve('signal'));
  // ^C reaches the whole process group; under a supervisor it is the supervisor that decides.
  process.on('SIGINT', () => {
    if (!supervised) asked.resolve('signal');
  });
  if (supervised) process.on('disconnect', () => asked.resolve('orphaned'));

  let running: { stop(): Promise<void> };
  try {
    running = await start();
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

  if ((await asked.promise) === 'orphaned') setTimeout(() => process.exit(75), ORPHAN_MILLISECONDS).unref();
  await running.stop();
  if (process.connected) process.disconnect();
}

function tell(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}
