import { setTimeout as sleep } from 'node:timers/promises';
import { ExitError } from '@weft/kernel/errors';
import { locateDataFolder } from '../data-folder.ts';
import { processStartTime, readInstanceState } from '../instance-state.ts';

const PATIENCE_MILLISECONDS = 30_000;

/** Stops the instance and waits until it is gone. Stopping what does not run is no error. */
export async function down(options: { data: string }): Promise<void> {
  const state = readInstanceState(locateDataFolder(options.data));
  if (!state) {
    process.stderr.write(`weft: nothing runs in ${options.data}\n`);
    return;
  }
  const { pid, startTime } = state.supervisor;
  process.kill(pid, 'SIGTERM');
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  while (processStartTime(pid) === startTime) {
    if (Date.now() > deadline)
      throw new ExitError(
        75,
        `The supervisor (pid ${pid}) has not stopped within 30 s; see weft logs supervisor.`,
      );
    await sleep(50);
  }
}
