/** What the shim is told (`private/job.json`) and what it tells (`status/*.json`). Written and read by both sides. */

/** One container, ready to be spawned: nothing is left to decide, no shell is involved. */
export interface ContainerRun {
  readonly name: string;
  /** Program and arguments; `argv[0]` is an absolute path. Never holds secrets: everybody sees command lines. */
  readonly argv: readonly string[];
  /** Environment of `argv[0]`. */
  readonly env: Readonly<Record<string, string>>;
  /** Working folder on the host. */
  readonly cwd: string;
  /** File in `private/` that the program gets as descriptor 3 (bubblewrap's `--args`). */
  readonly argumentsFile?: string;
  /** Numeric account to spawn as. */
  readonly account?: Account;
  /** How many generations below the spawned process the container's own first process is. */
  readonly generations: number;
  /** The container is ended as `OOMKilled` when its processes hold more than this. */
  readonly memoryLimitBytes?: number;
}

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface JobFile {
  /** Names this one attempt; stands in the start marker. */
  readonly token: string;
  readonly graceSeconds: number;
  /** `activeDeadlineSeconds` of the pod. */
  readonly deadlineSeconds?: number;
  readonly initContainers: readonly ContainerRun[];
  readonly containers: readonly ContainerRun[];
  /** Touched at every change, so that whoever watches the folder looks at once. */
  readonly noticeFile: string;
}

/** `status/started.json`: made once per attempt, atomically, by the shim that may run it, or by a cancellation. */
export interface StartMarker {
  readonly token: string;
  /** `null` when the attempt was cancelled before it began. */
  readonly process: ProcessIdentity | null;
  readonly startedAt: string;
}

/** Names a process beyond the life of its number: a number is used again, a start time on one boot is not. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of `/proc/<pid>/stat`: clock ticks since boot. */
  readonly startTicks: number;
  readonly bootId: string;
  readonly host: string;
}

/** `status/container-<name>.json`. */
export interface ContainerRecord {
  readonly name: string;
  readonly startedAt: string;
  readonly end?: {
    /** 128 + signal when a signal ended it. */
    readonly exitCode: number;
    readonly signal?: number;
    /** `Completed`, `Error`, `OOMKilled`, `DeadlineExceeded`, `ContainerCannotRun`. */
    readonly reason: string;
    readonly message?: string;
    readonly finishedAt: string;
  };
}

/** `status/ended.json`: the last thing the shim writes. */
export interface EndRecord {
  readonly token: string;
  readonly endedAt: string;
  readonly containers: readonly ContainerRecord[];
  /** User and system time of all processes of the job. */
  readonly cpuSeconds: number;
  readonly peakMemoryBytes: number;
}

export const JOB_FILE = 'private/job.json';
export const START_MARKER = 'status/started.json';
export const END_RECORD = 'status/ended.json';
export const containerRecordFile = (container: string) => `status/container-${container}.json`;
export const logFile = (container: string) => `logs/${container}.log`;
