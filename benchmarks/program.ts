import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');

/** Starts a program of the repository in a process of its own; resolves with its first message. */
export async function startProgram(
  file: string,
  options: readonly string[],
): Promise<{ child: ChildProcess; hello: unknown }> {
  const child = fork(path.join(ROOT, file), [...options], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const hello = await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`${file} ended with code ${code}`)));
    child.once('error', reject);
  });
  return { child, hello };
}

/** Lets go of it and waits for its end. */
export async function endProgram(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  if (child.connected) child.disconnect();
  const hard = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await ended;
  clearTimeout(hard);
}
