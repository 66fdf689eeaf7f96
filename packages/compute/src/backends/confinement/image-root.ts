import { existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { BUILTIN_NODE, type ImageSource } from '../../core/images.ts';
import { isBelow } from '../../core/mounts.ts';

/** One step of making a root file system, in order. */
export type RootStep =
  | { readonly kind: 'bind'; readonly source: string; readonly target: string }
  | { readonly kind: 'symlink'; readonly source: string; readonly target: string }
  | { readonly kind: 'empty'; readonly target: string };

/** System files of the host that a program needs to run; everything else of it stays invisible. */
const SYSTEM_FOLDERS = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/nix/store'];
const SYSTEM_FILES = [
  '/etc/alternatives',
  '/etc/ca-certificates',
  '/etc/group',
  '/etc/hosts',
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/localtime',
  '/etc/mime.types',
  '/etc/nsswitch.conf',
  '/etc/passwd',
  '/etc/pki',
  '/etc/resolv.conf',
  '/etc/ssl',
];

/** The read-only files that an image stands for. */
export function imageRoot(image: ImageSource, nodeBinary: string): RootStep[] {
  if (image !== BUILTIN_NODE) return entriesOf(image);
  const present = [...SYSTEM_FOLDERS, ...SYSTEM_FILES].filter((path) => existsSync(path));
  return [
    ...present.map(
      (path): RootStep =>
        SYSTEM_FOLDERS.includes(path) && lstatSync(path).isSymbolicLink()
          ? { kind: 'symlink', source: readlinkSync(path), target: path }
          : { kind: 'bind', source: path, target: path },
    ),
    // The host's local additions are not part of the image; Node.js lies where the image has it.
    { kind: 'empty', target: '/usr/local' },
    { kind: 'bind', source: nodeBinary, target: '/usr/local/bin/node' },
  ];
}

/** An image on disk, entry by entry, so that the pod's own mounts find room in `/`. */
function entriesOf(folder: string): RootStep[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !['proc', 'dev', 'tmp'].includes(name))
    .map((entry) => {
      const path = join(folder, entry.name);
      return entry.isSymbolicLink()
        ? { kind: 'symlink', source: readlinkSync(path), target: `/${entry.name}` }
        : { kind: 'bind', source: path, target: `/${entry.name}` };
    });
}

/**
 * Folders above mount points that somebody has to make, outermost first: those that no earlier mount has brought along.
 *
 * @example missingParents(['/usr', '/usr/local/bin/node', '/data/in'], ['/usr']) // ['/data']
 */
export function missingParents(targets: readonly string[], bound: readonly string[]): string[] {
  const missing = new Set<string>();
  for (const target of targets) {
    const segments = target.split('/').slice(1, -1);
    for (let depth = 1; depth <= segments.length; depth++) {
      const parent = `/${segments.slice(0, depth).join('/')}`;
      if (!bound.some((folder) => isBelow(parent, folder))) missing.add(parent);
    }
  }
  return [...missing].sort((one, other) => one.length - other.length);
}
