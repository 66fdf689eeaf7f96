import { WeftError } from '@weft/kernel/errors';
import { BUILTIN_NODE } from '../../core/images.ts';
import type { Account } from '../../shim/job-file.ts';
import { becomeAccount } from './bubblewrap.ts';
import type { ConfinedRun, Confinement } from './confinement.ts';
import { imageRoot } from './image-root.ts';

/** unshare(1), the shell that is pid 1 inside and waits, the container's first process. */
const GENERATIONS = 2;
/** Where the new root is put together: a folder that every Linux has and that no pod needs anything of. */
const NEW_ROOT = '/sys';

/**
 * Makes the file system of a container in a mount namespace of its own. A constant: what to mount where comes as its
 * arguments, in groups of three; what follows `--` is run in it.
 */
const BUILD_ROOT = `
set -eu
root=$1; directory=$2; shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
place() { if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "\${2%/*}"; [ -e "$2" ] || : > "$2"; fi; }
while [ "$1" != -- ]; do
  case $1 in
    empty) mkdir -p "$root$3"; mount -t tmpfs -o mode=755 tmpfs "$root$3" ;;
    symlink) mkdir -p "$root\${3%/*}"; ln -s "$2" "$root$3" ;;
    read) place "$2" "$root$3"; mount --rbind "$2" "$root$3"
      for flags in ro ro,nosuid,nodev ro,nosuid,nodev,noexec ro,nosuid,nodev,relatime; do
        mount -o "remount,bind,$flags" "$root$3" 2>/dev/null && break
      done ;;
    write) place "$2" "$root$3"; mount --bind "$2" "$root$3" ;;
  esac
  shift 3
done
shift
mkdir -p "$root/proc" "$root/dev/shm" "$root/tmp" "$root/.old"
mount -t proc proc "$root/proc"
for device in null zero full random urandom; do
  : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"; chmod 1777 "$root/dev/shm"
[ -d "$root$directory" ] || { mkdir -p "$root$directory"; chmod 0777 "$root$directory"; }
cd "$root"; pivot_root . .old; umount -l /.old; rmdir /.old; cd "$directory"
# Not exec: as pid 1 the program would be deaf to signals that it does not handle. What the shell has to say about its
# end is none of the container's output.
exec 4>&2 2>/dev/null
"$@" 2>&4 4>&-
exit $?`;

/**
 * Becomes the container's program with the environment that descriptor 3 holds: any name, any value, and none of it in a
 * command line. What shells do to find a program in PATH is done here.
 */
const ENTER = `
const fs = require('node:fs');
const environment = JSON.parse(fs.readFileSync(3, 'utf8'));
fs.closeSync(3);
const [program, ...args] = process.argv.slice(1);
const candidates = program.includes('/') ? [program] : (environment.PATH ?? '').split(':').map((folder) => folder + '/' + program);
const file = candidates.find((each) => { try { fs.accessSync(each, fs.constants.X_OK); return fs.statSync(each).isFile(); } catch { return false; } });
if (file === undefined) { process.stderr.write(program + ': not found\\n'); process.exit(127); }
process.execve(file, [program, ...args], environment);`;

/**
 * Confinement by `unshare` where there is no bubblewrap. As root, `setpriv` inside becomes the job's account for good. As
 * an ordinary user we are root of a user namespace while the mounts are made, and ourselves again in one below it.
 * For `builtin:node` only, whose Node.js does the last step.
 */
export function namespaces(
  programs: { unshare: string; setpriv: string },
  account: Account,
  asRoot: boolean,
): Confinement {
  return {
    name: 'namespaces',
    confine(container, pod): ConfinedRun {
      if (container.image !== BUILTIN_NODE) {
        throw new WeftError(
          'unsupported',
          'confinement',
          'A root file system needs bubblewrap, which this site has not.',
        );
      }
      const steps = [
        ...imageRoot(container.image, pod.nodeBinary).map((step) =>
          step.kind === 'empty'
            ? ['empty', '', step.target]
            : [step.kind === 'bind' ? 'read' : 'symlink', step.source, step.target],
        ),
        ...container.mounts.map(({ source, target, writable }) => [
          writable ? 'write' : 'read',
          source,
          target,
        ]),
      ];
      return {
        argumentsFile: JSON.stringify(container.environment),
        run: {
          name: container.name,
          argv: [
            programs.unshare,
            ...['--mount', '--pid', '--ipc', '--uts', '--fork', '--kill-child'],
            ...(asRoot ? [] : ['--user', '--map-root-user']),
            ...(pod.network === 'none' ? ['--net'] : []),
            '--',
            ...['/bin/sh', '-c', BUILD_ROOT, 'confine', NEW_ROOT, container.workingDirectory],
            ...steps.flat(),
            '--',
            ...(asRoot
              ? becomeAccount(programs.setpriv, account)
              : [
                  ...[
                    programs.unshare,
                    '--user',
                    `--map-user=${account.uid}`,
                    `--map-group=${account.gid}`,
                    '--',
                  ],
                  ...[programs.setpriv, '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs', '--'],
                ]),
            ...['/usr/local/bin/node', '-e', ENTER, '--'],
            ...container.command,
          ],
          env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOSTNAME: pod.name },
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
