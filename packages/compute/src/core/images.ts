import { WeftError } from '@weft/kernel/errors';
import type { SiteConfig } from '../config.ts';
import { expand } from './environment.ts';
import type { ContainerManifest } from './manifest.ts';

/** `builtin:node`, or the path of an unpacked root file system. */
export type ImageSource = string;

export const BUILTIN_NODE = 'builtin:node';

/**
 * What the image's entry point does: run the command if there is one of that name, else hand the words to Node.js.
 * A constant; the words are its arguments, never part of its text.
 */
const NODE_ENTRYPOINT = `
case "$1" in -*) exec node "$@" ;; esac
if [ -z "$(command -v "$1")" ] || { [ -f "$1" ] && ! [ -x "$1" ]; }; then exec node "$@"; fi
exec "$@"`;

/** `node:24-alpine` and `docker.io/library/node:24-alpine` name the same image. */
export function canonicalImage(image: string): string {
  const [first, ...rest] = image.split('/');
  const hasRegistry = rest.length > 0 && first !== undefined && /[.:]|^localhost$/.test(first);
  const path = hasRegistry ? image : `docker.io/${rest.length === 0 ? 'library/' : ''}${image}`;
  return /[@:][^/]*$/.test(path) ? path : `${path}:latest`;
}

/** @throws {WeftError} `invalid`, code `image-unknown`, naming the images that the site has. */
export function findImage(site: SiteConfig, image: string): ImageSource {
  const wanted = canonicalImage(image);
  for (const [name, source] of Object.entries(site.images)) {
    if (canonicalImage(name) === wanted) return source;
  }
  const offered = Object.keys(site.images).join(', ') || 'none';
  throw new WeftError(
    'invalid',
    'image-unknown',
    `Site ${site.name} has no image ${image}; it has: ${offered}.`,
  );
}

/**
 * Program and arguments of a container: `command` replaces the image's entry point, `args` its default arguments
 * (brief interlink 8.16). `$(NAME)` is expanded as Kubernetes does.
 */
export function commandOf(
  container: ContainerManifest,
  source: ImageSource,
  environment: Readonly<Record<string, string>>,
): string[] {
  const command = container.command.map((word) => expand(word, environment));
  const args = container.args.map((word) => expand(word, environment));
  if (command.length > 0) return [...command, ...args];
  if (source === BUILTIN_NODE) {
    return args.length === 0 ? ['node'] : ['/bin/sh', '-c', NODE_ENTRYPOINT, 'entrypoint', ...args];
  }
  throw new WeftError(
    'invalid',
    'command-missing',
    `The container ${container.name} has no command, and the image ${container.image} is a folder without an entry point.`,
  );
}
