import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { DatabaseTarget } from '../src/database/index.ts';

/** A program in a process of its own, to be killed. */
export interface TestProcess {
  readonly child: ChildProcess;
  /** Lines it has printed so far. */
  readonly lines: readonly string[];
  /** Resolves when it has printed this line. */
  said(line: string): Promise<void>;
  /** `kill -9` of its whole process group; resolves when it is gone. */
  kill(): Promise<void>;
}

/** Runs `program` (an ES module; `kernel('work/index.ts')` is replaced by the address of that file). */
export function startProgram(program: string, environment: Record<string, string> = {}): TestProcess {
  const text = program.replace(/kernel\('([^']+)'\)/g, (_, file) =>
    JSON.stringify(new URL(`../src/${file}`, import.meta.url)),
  );
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', text], {
    detached: true,
    cwd: new URL('..', import.meta.url),
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { pid, stdout } = child;
  if (pid === undefined || stdout === null) throw new Error('the program did not start');
  const lines: string[] = [];
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const printed = createInterface({ input: stdout });
  printed.on('line', (line) => lines.push(line));
  return {
    child,
    lines,
    said: async (line) =>
      await new Promise((resolve, reject) => {
        if (lines.includes(line)) return resolve();
        printed.on('line', (next) => next === line && resolve());
        void ended.then(() => reject(new Error(`the program ended before it said ${line}`)));
      }),
    async kill() {
      if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGKILL');
      await ended;
    },
  };
}

/** Lines that open the test's database in a program. */
export const OPEN_DATABASE = `
  import { sql } from 'kysely';
  import { Secret } from kernel('config/index.ts');
  import { createWakeUps, openDatabase } from kernel('database/index.ts');
  import { createLogger } from kernel('telemetry/index.ts');
  const given = JSON.parse(process.env.TARGET ?? '');
  const target = given.url
    ? { url: given.url }
    : { connection: { ...given.connection, password: new Secret(given.connection.password) } };
  const log = createLogger({ name: 'program', level: 'silent' });
  const database = await openDatabase({ ...target, log, applicationName: 'weft program' });
  const wakeUps = createWakeUps({ ...target, log });
`;

/** `environment` for `OPEN_DATABASE`. */
export function targetEnvironment(target: DatabaseTarget): Record<string, string> {
  if (target.connection === undefined) {
    return {
      TARGET: JSON.stringify({ url: typeof target.url === 'string' ? target.url : target.url.reveal() }),
    };
  }
  const { connection } = target;
  return {
    TARGET: JSON.stringify({ connection: { ...connection, password: connection.password.reveal() } }),
  };
}
