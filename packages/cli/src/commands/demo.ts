import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { ExitError } from '@weft/kernel/errors';
import { locateDataFolder } from '../data-folder.ts';
import { endpointsOf } from '../endpoints.ts';
import { readInstanceState } from '../instance-state.ts';
import { ownCommand, tourProgram } from '../own-program.ts';
import { printEndpoints } from '../print-endpoints.ts';
import { chooseComponents, startEmbedded } from './up.ts';

export interface DemoOptions {
  readonly data: string;
  readonly portBase?: number;
  readonly logLevel: string;
  readonly once?: boolean;
  readonly without?: string;
  readonly drain?: string;
  readonly fresh?: boolean;
}

/**
 * `npm start`: starts everything, runs the example twin, and stays up on a terminal. With `--once`, or without a terminal,
 * it stops everything and exits; non-zero when any check failed.
 */
export async function demo(options: DemoOptions): Promise<void> {
  const components = chooseComponents([], options.without);
  const stay = options.once !== true && process.stdout.isTTY === true && process.env.CI !== 'true';
  if (options.fresh) {
    const running = readInstanceState(locateDataFolder(options.data));
    if (running) throw new ExitError(75, `An instance runs in ${options.data}. Mend: weft down first.`);
    rmSync(options.data, { recursive: true, force: true });
  }
  const folder = locateDataFolder(options.data);
  const interruption = new AbortController();
  const interrupted = new Promise<void>((resolve) =>
    interruption.signal.addEventListener('abort', () => resolve()),
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interruption.abort());

  const startedAt = performance.now();
  const instance = await startEmbedded(folder, components, { ...options, signal: interruption.signal });
  let code = 0;
  try {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    process.stdout.write(`\n1  PostgreSQL and ${components.length} components are ready  ${seconds} s\n\n`);
    printEndpoints(endpointsOf(folder, options.portBase), components);
    process.stdout.write('\n');
    code = await Promise.race([runTwin(options, folder.root), interrupted.then(() => 130)]);
    if (stay && code !== 130) {
      process.stdout.write(
        `\nEverything goes on running. Stop with ^C; or play on from another terminal:\n` +
          `  ./weft status --data ${folder.root}\n  ./weft token --data ${folder.root}\n  ./weft logs --data ${folder.root} -f\n`,
      );
      await Promise.race([interrupted, instance.done]);
    }
  } finally {
    await instance.stop();
  }
  process.exitCode = code;
}

/** The tour is a client like any other: a process of its own that knows the stable commands only. */
function runTwin(options: DemoOptions, data: string): Promise<number> {
  const tour = spawn(
    process.execPath,
    [
      tourProgram(),
      '--weft',
      ownCommand(),
      '--data',
      data,
      ...(options.drain === undefined ? [] : ['--drain', options.drain]),
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  return new Promise((resolve, reject) => {
    tour.on('error', reject);
    tour.on('exit', (code, signal) => resolve(signal ? 128 : (code ?? 70)));
  });
}
