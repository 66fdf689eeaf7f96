import { describeError, ExitError } from '@weft/kernel/errors';
import { CommanderError } from 'commander';
import { createProgram } from './program.ts';

// `weft logs | head`: whoever reads has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 64;
  } else if (error instanceof ExitError) {
    process.stderr.write(`weft: ${error.message}\n`);
    process.exitCode = error.exitCode;
  } else {
    process.stderr.write(`weft: ${describeError(error)}\n`);
    if (process.env.WEFT_DEBUG !== undefined && error instanceof Error)
      process.stderr.write(`${error.stack}\n`);
    process.exitCode = 70;
  }
}
