import { dirname } from 'node:path';
import { WeftError } from '@weft/kernel/errors';
import { BUILTIN_NODE } from '../../core/images.ts';
import { isBelow, type Mount } from '../../core/mounts.ts';
import type { Account } from '../../shim/job-file.ts';
import type { ConfinedRun, Confinement } from './confinement.ts';

/**
 * No confinement: the container is an ordinary process in a session of its own. Nothing can be mounted, so words of the
 * command and values of the environment that are a mounted path, or `--option=` such a path, are rewritten to where the
 * thing really lies; a program that has such a path inside it will not find it. Pods that run so are marked.
 */
export function unconfined(account: Account | undefined): Confinement {
  return {
    name: 'none',
    confine(container, pod): ConfinedRun {
      if (container.image !== BUILTIN_NODE) {
        throw new WeftError(
          'unsupported',
          'confinement',
          'A root file system cannot be used without confinement.',
        );
      }
      const translate = (word: string) => translatePath(word, container.mounts);
      const environment = Object.fromEntries(
        Object.entries(container.environment).map(([name, value]) => [name, translate(value)]),
      );
      const [program = 'node', ...args] = container.command.map(translate);
      return {
        run: {
          name: container.name,
          argv: [program === 'node' ? pod.nodeBinary : program, ...args],
          env: { ...environment, PATH: `${dirname(pod.nodeBinary)}:${environment.PATH ?? ''}` },
          cwd: translate(container.workingDirectory),
          generations: 0,
          ...(account === undefined ? {} : { account }),
          ...(container.memoryLimitBytes === undefined
            ? {}
            : { memoryLimitBytes: container.memoryLimitBytes }),
        },
      };
    },
  };
}

/** @example translatePath('--in=/in/a', [{ source: '/var/w/1', target: '/in', … }]) // '--in=/var/w/1/a' */
export function translatePath(word: string, mounts: readonly Mount[]): string {
  const [, option = '', path = ''] = /^(--?[\w-]+=)?(\/.*)$/s.exec(word) ?? [];
  if (path === '') return word;
  // The innermost mount that covers the path.
  const mount = mounts.findLast(({ target }) => isBelow(path, target));
  return mount === undefined ? word : `${option}${mount.source}${path.slice(mount.target.length)}`;
}
