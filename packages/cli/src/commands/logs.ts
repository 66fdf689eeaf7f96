import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import { locateDataFolder } from '../data-folder.ts';

export async function logs(
  name: string | undefined,
  options: { data: string; follow?: boolean; lines: string },
): Promise<void> {
  const { logs: folder } = locateDataFolder(options.data);
  const known = readdirSync(folder)
    .filter((file) => file.endsWith('.log'))
    .map((file) => file.slice(0, -'.log'.length));
  if (name !== undefined && !known.includes(name)) {
    throw new ExitError(64, `There is no log of ${name}. Logs: ${known.join(', ')}.`);
  }
  const files = (name === undefined ? known : [name]).map((each) => path.join(folder, `${each}.log`));
  if (!/^\d+$/.test(options.lines)) throw new ExitError(64, '--lines must be a number.');
  const tail = spawn('tail', ['-n', options.lines, ...(options.follow ? ['-F'] : []), '--', ...files], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    tail.on('error', reject);
    tail.on('exit', () => resolve());
  });
}
