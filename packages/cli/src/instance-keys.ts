import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import { z } from 'zod';
import { type DataFolder, writePrivateFile } from './data-folder.ts';

const keysSchema = z.object({
  format: z.literal('weft-keys-1'),
  /** Path below the data folder to content in base64. */
  files: z.record(z.string().regex(/^(secrets|pki)\/[\w.-]+$/), z.base64()),
});

/** What each cluster makes for itself. */
const OWN = new Set(['secrets/postgres.secret']);

/**
 * The files that the rows of a backup need: the key that encrypts credentials at rest, the secrets of the embedded clients,
 * the authority. They go into a file of their own, because whoever has both can read everything.
 */
export function writeKeys(folder: DataFolder, file: string): void {
  const names = [folder.secrets, folder.pki].flatMap((below) =>
    existsSync(below)
      ? readdirSync(below, { withFileTypes: true })
          .filter((entry) => entry.isFile() && !entry.name.endsWith('.tmp'))
          .map((entry) => path.join(path.basename(below), entry.name))
      : [],
  );
  const files = Object.fromEntries(
    names
      .filter((name) => !OWN.has(name))
      .map((name) => [name, readFileSync(path.join(folder.root, name)).toString('base64')]),
  );
  writePrivateFile(file, `${JSON.stringify({ format: 'weft-keys-1', files }, null, 1)}\n`);
}

/**
 * Puts the keys of a backup into a new data folder.
 *
 * @throws {ExitError} 65 when the file is not what `writeKeys` wrote, or the folder has other keys already.
 */
export function restoreKeys(folder: DataFolder, file: string): void {
  const keys = readKeys(file);
  for (const [name, content] of Object.entries(keys)) {
    const target = path.join(folder.root, name);
    if (existsSync(target) && !readFileSync(target).equals(content)) {
      throw new ExitError(
        65,
        `${target} is there already and differs from the one in ${file}. Mend: restore into a new --data.`,
      );
    }
  }
  for (const [name, content] of Object.entries(keys)) {
    const target = path.join(folder.root, name);
    mkdirSync(path.dirname(target), { recursive: true, mode: name.startsWith('pki/') ? 0o755 : 0o700 });
    if (existsSync(target)) continue;
    writePrivateFile(target, content);
    // Certificates are public: clients of other accounts read them.
    if (name.endsWith('.pem')) chmodSync(target, 0o644);
  }
}

function readKeys(file: string): Record<string, Buffer> {
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new ExitError(65, `${file} is not a file with keys that weft backup wrote.`, { cause });
  }
  const parsed = keysSchema.safeParse(raw);
  if (!parsed.success) throw new ExitError(65, `${file} is not a file with keys that weft backup wrote.`);
  return Object.fromEntries(
    Object.entries(parsed.data.files).map(([name, content]) => [name, Buffer.from(content, 'base64')]),
  );
}
