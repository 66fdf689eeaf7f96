import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { describeError, ExitError } from '@weft/kernel/errors';

/** EX_CANTCREAT of sysexits.h. */
export const EXIT_CANNOT_CREATE = 73;

/** Where an instance keeps everything, when `--data` does not say: `/var/lib/weft` for root, else below XDG_DATA_HOME. */
export function defaultDataFolder(environment: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return '/var/lib/weft';
  return path.join(environment.XDG_DATA_HOME ?? path.join(homedir(), '.local', 'share'), 'weft');
}

/** Files and folders of one instance. Folders with state or secrets are 0700; the top can be passed through (0711). */
export interface DataFolder {
  readonly root: string;
  readonly secrets: string;
  readonly pki: string;
  readonly run: string;
  readonly logs: string;
  /** The configuration that the children of the supervisor read. */
  readonly configuration: string;
  /** Who runs the instance now; see `instance-state.ts`. */
  readonly state: string;
  site(name: string, ...below: string[]): string;
}

/** Names the places; makes the folders that are missing. */
export function openDataFolder(root: string): DataFolder {
  const folder = locateDataFolder(root);
  try {
    mkdirSync(folder.root, { recursive: true, mode: 0o711 });
    for (const private_ of [folder.secrets, folder.run])
      mkdirSync(private_, { recursive: true, mode: 0o700 });
    mkdirSync(folder.logs, { recursive: true, mode: 0o711 });
  } catch (cause) {
    throw new ExitError(
      EXIT_CANNOT_CREATE,
      `The data folder ${folder.root} cannot be made: ${describeError(cause)}. Mend: give another with --data DIR.`,
      { cause },
    );
  }
  return folder;
}

/** Names the places without touching them. */
export function locateDataFolder(root: string): DataFolder {
  const top = path.resolve(root);
  return {
    root: top,
    secrets: path.join(top, 'secrets'),
    pki: path.join(top, 'pki'),
    run: path.join(top, 'run'),
    logs: path.join(top, 'log'),
    configuration: path.join(top, 'run', 'weft.json'),
    state: path.join(top, 'run', 'instance.json'),
    site: (name, ...below) => path.join(top, 'sites', name, ...below),
  };
}

/** Reads a secret file, making it with `make()` when absent: written under a temporary name, 0600, renamed. */
export function ensureSecretFile(file: string, make: () => Buffer | string): Buffer {
  if (!existsSync(file)) writePrivateFile(file, make());
  return readFileSync(file);
}

/** A random secret of 256 bits in base64url. */
export function randomSecret(): string {
  return randomBytes(32).toString('base64url');
}

export function writePrivateFile(file: string, content: Buffer | string): void {
  const temporary = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600, flush: true });
  renameSync(temporary, file);
}
