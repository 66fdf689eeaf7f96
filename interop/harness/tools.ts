import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { PeerUnavailable } from './peer-unavailable.ts';
import { createWitness, type Witness } from './witness.ts';

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

  const aptInstall = async (packages: readonly string[]) => {
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const first = await run('apt-get', ['install', '-y', '--no-install-recommends', ...packages], {
      env,
      timeoutSeconds: 600,
    });
    if (first.code === 0) return first;
    await run('apt-get', ['update'], { env, timeoutSeconds: 300 });
    return run('apt-get', ['install', '-y', '--no-install-recommends', ...packages], {
      env,
      timeoutSeconds: 600,
    });
  };

  return {
    witness,
    cache,
    run,
    succeed,
    async needCommand(command, packages) {
      if (await installed(command)) return;
      const result = await aptInstall(packages).catch((error: unknown) => ({
        code: 1,
        stderr: String(error),
      }));
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
      try {
        await succeed('python3', ['-m', 'venv', '--clear', folder], { timeoutSeconds: 120 });
        await succeed(
          path.join(bin, 'pip'),
          ['install', '--quiet', '--disable-pip-version-check', ...requirements],
          {
            timeoutSeconds: 600,
          },
        );
        await succeed('touch', [stamp]);
      } catch (error) {
        throw new PeerUnavailable(`pip install ${requirements.join(' ')} failed: ${lastLine(String(error))}`);
      }
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
    const timer = setTimeout(() => child.kill('SIGKILL'), (options.timeoutSeconds ?? 60) * 1000);
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
