import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '../../config/secret.ts';
import { ExitError } from '../../errors/index.ts';
import { isErrno, writeWhole } from './files.ts';

/** The password of the embedded server: made before the cluster, kept in `<data>/secrets/postgres.secret` (0600). */
export async function ensurePassword(secrets: string, cluster: string): Promise<Secret> {
  const file = join(secrets, 'postgres.secret');
  try {
    return new Secret((await readFile(file, 'utf8')).trim());
  } catch (cause) {
    if (!isErrno(cause, 'ENOENT')) throw cause;
    if (existsSync(cluster)) {
      throw new ExitError(
        78,
        `${file} is missing, and ${cluster} was made with it. Put it back from a backup.`,
        { cause },
      );
    }
  }
  const password = randomBytes(24).toString('base64url');
  await writeWhole(file, `${password}\n`, 0o600);
  return new Secret(password);
}
