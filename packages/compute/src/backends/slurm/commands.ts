import { execFile } from 'node:child_process';
import { describeError, WeftError } from '@weft/kernel/errors';
import { SYSTEM_PATH } from '../account.ts';
import { findProgram } from '../programs.ts';

const TIMEOUT_MILLISECONDS = 60_000;
const MAXIMUM_OUTPUT_BYTES = 64 * 2 ** 20;

/** Words with which Slurm's commands say that its daemons do not answer; everything else they say is about the request. */
const PASSING =
  /unable to contact|timed out|connection refused|temporarily|protocol authentication|zero bytes/i;

export type SlurmCommand = 'sbatch' | 'squeue' | 'scancel' | 'sinfo';

/** Runs a command of Slurm with arguments as they are; answers its output. */
export type RunSlurm = (command: SlurmCommand, args: readonly string[]) => Promise<string>;

/**
 * Slurm's commands, as far as they are installed.
 *
 * @throws {WeftError} (when run) `unavailable` when the controller does not answer; `invalid`, with Slurm's own words,
 *   when it refuses.
 */
export const runSlurm: RunSlurm = async (command, args) => {
  const program = await findProgram(command);
  if (program === undefined) {
    throw new WeftError('unavailable', 'slurm-missing', `Slurm's ${command} is not installed here.`);
  }
  return new Promise((resolve, reject) => {
    execFile(
      program,
      args,
      {
        timeout: TIMEOUT_MILLISECONDS,
        maxBuffer: MAXIMUM_OUTPUT_BYTES,
        env: {
          PATH: SYSTEM_PATH,
          ...(process.env.SLURM_CONF === undefined ? {} : { SLURM_CONF: process.env.SLURM_CONF }),
        },
      },
      (error, output, words) => {
        // Many sites print notices on standard error when all is well (brief interlink 8.25).
        if (error === null) return resolve(output);
        const said = words.trim() || describeError(error);
        const kind = error.killed || PASSING.test(said) ? 'unavailable' : 'invalid';
        reject(new WeftError(kind, `${command}-failed`, said, { cause: error }));
      },
    );
  });
};

/** Whether there is a Slurm that answers. */
export async function slurmAnswers(run: RunSlurm = runSlurm): Promise<boolean> {
  try {
    return (await run('sinfo', ['--noheader', '--format=%P'])).trim() !== '';
  } catch (error) {
    if (error instanceof WeftError) return false;
    throw error;
  }
}
