import { BUILTIN_NODE } from '../../core/images.ts';
import { isBelow } from '../../core/mounts.ts';
import type { Account } from '../../shim/job-file.ts';
import type { PreparedContainer } from '../back-end.ts';
import type { ConfinedPod, ConfinedRun, Confinement } from './confinement.ts';
import { imageRoot, missingParents } from './image-root.ts';

/** bubblewrap itself, its pid 1 inside, the container's first process. */
const GENERATIONS = 2;

/**
 * Confinement by bubblewrap: file system, processes, IPC, host name and, if asked for, network of its own.
 *
 * As an ordinary user it works through an unprivileged user namespace. As root it needs none: bubblewrap keeps just the
 * capabilities with which `setpriv` inside becomes the job's account for good, and folders that only root may enter can
 * still be mounted. Everything but the command goes through a file: command lines are public, environments may be secret.
 */
export function bubblewrap(program: string, setpriv: string, account: Account | undefined): Confinement {
  return {
    name: 'bubblewrap',
    confine(container, pod): ConfinedRun {
      return {
        argumentsFile: options(container, pod, account !== undefined)
          .map((option) => `${option}\0`)
          .join(''),
        run: {
          name: container.name,
          argv: [
            program,
            '--args',
            '3',
            '--',
            ...(account === undefined ? [] : becomeAccount(setpriv, account)),
            ...container.command,
          ],
          // bubblewrap may run as root: nothing of the user's may be in its own environment (LD_PRELOAD).
          env: {},
          cwd: '/',
          generations: GENERATIONS,
          ...(container.memoryLimitBytes === undefined
            ? {}
            : { memoryLimitBytes: container.memoryLimitBytes }),
        },
      };
    },
  };
}

function options(container: PreparedContainer, pod: ConfinedPod, asRoot: boolean): string[] {
  const root = imageRoot(container.image, pod.nodeBinary);
  const bound = root.filter(({ kind }) => kind === 'bind').map(({ target }) => target);
  const kept = ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'];
  return [
    ...(asRoot ? ['--cap-drop', 'ALL', ...kept.flatMap((name) => ['--cap-add', name])] : ['--unshare-user']),
    ...['--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try', '--die-with-parent'],
    ...['--hostname', pod.name],
    ...(pod.network === 'none' ? ['--unshare-net'] : []),
    // Folders that bubblewrap has to make on the way would be open to root alone.
    ...folders(missingParents([...bound, ...container.mounts.map(({ target }) => target)], bound)),
    ...root.flatMap((step) => {
      if (step.kind === 'empty') return ['--tmpfs', step.target, ...folders([`${step.target}/bin`])];
      return [step.kind === 'symlink' ? '--symlink' : '--ro-bind', step.source, step.target];
    }),
    ...['--proc', '/proc', '--dev', '/dev', '--perms', '1777', '--tmpfs', '/tmp'],
    ...container.mounts.flatMap(({ source, target, writable }) => [
      writable ? '--bind' : '--ro-bind',
      source,
      target,
    ]),
    ...workingDirectory(container),
    ...Object.entries(container.environment).flatMap(([name, value]) => ['--setenv', name, value]),
  ];
}

function folders(paths: readonly string[]): string[] {
  return paths.flatMap((path) => ['--perms', '0755', '--dir', path]);
}

function workingDirectory(container: PreparedContainer): string[] {
  const folder = container.workingDirectory;
  const exists =
    folder === '/' ||
    container.image !== BUILTIN_NODE ||
    container.mounts.some(({ target }) => isBelow(folder, target));
  return [...(exists ? [] : ['--perms', '0777', '--dir', folder]), '--chdir', folder];
}

/** Drops root, every capability and every way back, then runs what follows. */
export function becomeAccount(setpriv: string, account: Account): string[] {
  return [
    setpriv,
    `--reuid=${account.uid}`,
    `--regid=${account.gid}`,
    '--clear-groups',
    '--bounding-set=-all',
    '--inh-caps=-all',
    '--no-new-privs',
    '--',
  ];
}
