import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isErrno } from '../shim/process-identity.ts';

/** What a job needs of ours, in a folder that its account may read: our own folders may be private. */
export interface Runtime {
  readonly nodeBinary: string;
  readonly shim: string;
}

const SHIM_FOLDER = fileURLToPath(new URL('../shim/', import.meta.url));

/** Copies Node.js and the shim below `folder`, once per version of either. */
export async function ensureRuntime(folder: string): Promise<Runtime> {
  const files = (await readdir(SHIM_FOLDER)).filter((name) => /(?<!\.test)\.(ts|js)$/.test(name)).sort();
  const hash = createHash('sha256').update(process.version).update(process.execPath);
  for (const file of files) hash.update(file).update(await readFile(join(SHIM_FOLDER, file)));
  const home = join(folder, `runtime-${hash.digest('hex').slice(0, 16)}`);
  const main = files.find((file) => file.startsWith('main.')) ?? 'main.ts';
  const runtime = { nodeBinary: join(home, 'bin', 'node'), shim: join(home, 'shim', main) };

  if (await exists(join(home, 'complete'))) return runtime;
  const temporary = `${home}.${process.pid}`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(join(temporary, 'bin'), { recursive: true, mode: 0o755 });
  await mkdir(join(temporary, 'shim'), { recursive: true, mode: 0o755 });
  await copyFile(process.execPath, join(temporary, 'bin', 'node'), constants.COPYFILE_FICLONE);
  await chmod(join(temporary, 'bin', 'node'), 0o755);
  for (const file of files) await copyFile(join(SHIM_FOLDER, file), join(temporary, 'shim', file));
  await writeFile(join(temporary, 'package.json'), '{"type":"module"}\n');
  await writeFile(join(temporary, 'complete'), `${process.version}\n`);
  try {
    await rename(temporary, home);
  } catch (error) {
    // Another process was faster: its copy is the same.
    await rm(temporary, { recursive: true, force: true });
    if (!(await exists(join(home, 'complete')))) throw error;
  }
  return runtime;
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
