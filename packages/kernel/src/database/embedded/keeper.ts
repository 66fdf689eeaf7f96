import { type ChildProcess, spawn } from 'node:child_process';
import type { Account } from './account.ts';

/**
 * The keeper is a shell in a session of its own between the supervisor and the server. Its standard input is a pipe that
 * only the supervisor holds: when the supervisor ends, however it ends, the read sees the end of the pipe and the keeper
 * stops the server (fast; after 0.8 s at once, which costs a recovery at the next start but no data). The word `stop` on
 * the pipe asks for a clean stop without that limit. It is a shell because it must not depend on what it watches over.
 *
 * The watcher is a process of its own, so that the keeper itself can wait for the server and end with its status.
 */
const KEEPER = `
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
(
  while read -r word <&3; do kill -INT "$server"; done
  kill -INT "$server"
  sleep 0.8
  kill -QUIT "$server"
) 2>/dev/null &
watcher=$!
trap '' HUP INT TERM
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
`;

export interface Kept {
  readonly process: ChildProcess;
  /** Resolves when the keeper has ended, with the server's exit status. */
  readonly ended: Promise<number | null>;
  /** Asks for a clean stop. */
  askToStop(): void;
  /** Lets go of the pipe, as if this process had died. */
  letGo(): void;
}

/** Starts `command` under a keeper; its output goes to the open file `logFile`. */
export function startKept(command: readonly string[], account: Account | undefined, logFile: number): Kept {
  const child = spawn('/bin/sh', ['-c', KEEPER, 'weft-postgres-keeper', ...command], {
    ...account,
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    detached: true,
    stdio: ['pipe', logFile, logFile],
  });
  const ended = new Promise<number | null>((resolve) => {
    child.on('exit', (code) => resolve(code));
    child.on('error', () => resolve(null));
  });
  // The pipe breaks when the keeper ends first.
  child.stdin?.on('error', () => undefined);
  return {
    process: child,
    ended,
    askToStop: () => void child.stdin?.write('stop\n'),
    letGo: () => void child.stdin?.destroy(),
  };
}
