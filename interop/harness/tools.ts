import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PeerUnavailable } from './peer-unavailable.ts';
import { createWitness, type Witness } from './witness.ts';

/** Ends what hangs; a slow machine is no reason to fail. */
const TIMEOUT_SECONDS = 180;
const ATTEMPTS = 3;
const PAUSE_MILLISECONDS = 3_000;

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  readonly timeoutSeconds?: number;
}

/** Runs programs and installs them from the system's and Python's packages. */
export interface Tools {
  /** Credentials in the outputs of everything that ran. */
  readonly witness: Witness;
  /** Folder that stays between runs: virtual environments, downloads. */
  readonly cache: string;
  run(command: string, args: readonly string[], options?: RunOptions): Promise<Output>;
  /** Like `run`, but throws with both outputs when the code is not 0. */
  succeed(command: string, args: readonly string[], options?: RunOptions): Promise<Output>;
  /** Whether it succeeds, with several attempts: for what a network may fail once. */
  again(command: string, args: readonly string[], options?: RunOptions): Promise<boolean>;
  /** Installs Debian's packages. */
  needPackages(packages: readonly string[]): Promise<void>;
  /** Makes `command` available from Debian's packages. */
  needCommand(command: string, packages: readonly string[]): Promise<void>;
  /** A Python virtual environment with these requirements; returns its `bin` folder. */
  needPython(
    name: string,
    requirements: readonly string[],
    systemPackages?: readonly string[],
  ): Promise<string>;
}

export function createTools(cache: string): Tools {
  mkdirSync(cache, { recursive: true });
  const witness = createWitness();

  const run: Tools['run'] = async (command, args, options) => {
    const output = await runProgram(command, args, options);
    witness.read(output.stdout);
    witness.read(output.stderr);
    return output;
  };

  const succeed: Tools['succeed'] = async (command, args, options) => {
    const output = await run(command, args, options);
    if (output.code === 0) return output;
    throw new Error(
      `${command} ${args.join(' ')} ended with ${output.code}\n${output.stdout}${output.stderr}`,
    );
  };

  const installed = async (command: string) =>
    (await run('sh', ['-c', 'command -v "$1"', 'sh', command])).code === 0;

  /** Registries and mirrors fail now and then, and apt waits for nobody who holds its lock unless it is told to. */
  const attempts = async (work: () => Promise<Output>, between?: () => Promise<unknown>): Promise<Output> => {
    for (let attempt = 1; ; attempt++) {
      const output = await work().catch((error: unknown) => ({ code: 1, stdout: '', stderr: String(error) }));
      if (output.code === 0 || attempt === ATTEMPTS) return output;
      await sleep(PAUSE_MILLISECONDS * (attempt - 1));
      await between?.();
    }
  };

  const apt = (...args: string[]) =>
    run('apt-get', ['-o', 'Acquire::Retries=3', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      env: { DEBIAN_FRONTEND: 'noninteractive' },
      timeoutSeconds: 600,
    });

  const aptInstall = (packages: readonly string[]) =>
    attempts(
      () => apt('install', '-y', '--no-install-recommends', ...packages),
      () => apt('update').catch(() => undefined),
    );

  return {
    witness,
    cache,
    run,
    succeed,
    async again(command, args, options) {
      return (await attempts(() => run(command, args, options))).code === 0;
    },
    async needPackages(packages) {
      const result = await aptInstall(packages);
      if (result.code !== 0)
        throw new PeerUnavailable(`apt-get install ${packages.join(' ')} failed: ${lastLine(result.stderr)}`);
    },
    async needCommand(command, packages) {
      if (await installed(command)) return;
      const result = await aptInstall(packages);
      if (result.code !== 0 || !(await installed(command))) {
        throw new PeerUnavailable(
          `${command} is not here and apt-get install ${packages.join(' ')} failed: ${lastLine(result.stderr)}`,
        );
      }
    },
    async needPython(name, requirements, systemPackages = []) {
      const folder = path.join(cache, `python-${name}`);
      const bin = path.join(folder, 'bin');
      const stamp = path.join(folder, 'installed');
      if (existsSync(stamp)) return bin;
      if (systemPackages.length > 0) await aptInstall(systemPackages);
      const pip = ['install', '--quiet', '--disable-pip-version-check', '--retries', '5', ...requirements];
      const result = await attempts(async () => {
        const made = await run('python3', ['-m', 'venv', '--clear', folder], { timeoutSeconds: 300 });
        return made.code === 0 ? await run(path.join(bin, 'pip'), pip, { timeoutSeconds: 600 }) : made;
      });
      if (result.code !== 0)
        throw new PeerUnavailable(
          `pip install ${requirements.join(' ')} failed: ${lastLine(result.stdout + result.stderr)}`,
        );
      await succeed('touch', [stamp]);
      return bin;
    },
  };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

function runProgram(command: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A program that ends without reading its input is not an error here.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    const timer = setTimeout(() => child.kill('SIGKILL'), (options.timeoutSeconds ?? TIMEOUT_SECONDS) * 1000);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const note = signal === null ? '' : `\n(ended by ${signal})`;
      resolve({
        code: code ?? 128,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString() + note,
      });
    });
  });
}
