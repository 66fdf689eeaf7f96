import type { ImageSource } from '../core/images.ts';
import type { Mount } from '../core/mounts.ts';
import type { Resources } from '../core/quantities.ts';
import type { ContainerRecord, EndRecord } from '../shim/job-file.ts';

/**
 * What runs jobs at a site. The contract, which `test/back-end-contract.ts` checks on every back end:
 *
 * - An attempt, named by its token, runs at most once, however often and from wherever `submit` is called for it.
 * - A job that was submitted goes on without us and is found again by what `submit` stored or, when we died before it
 *   could be stored, by its folder and token alone.
 * - `inspect` tells the truth of the moment about many jobs at a cost that does not grow with their number where the
 *   back end can answer in bulk; it changes nothing.
 * - The exit code is the container's own; 128 + signal when a signal ended it.
 * - `cancel` may be called in any state, also before `submit` has returned, and again; after it the attempt never starts.
 */
export interface BackEnd {
  readonly name: string;
  readonly capabilities: BackEndCapabilities;
  /** What the machine behind it is, for placement and the node's capacity. */
  fingerprint(): Promise<Fingerprint>;
  /**
   * Hands a job over. May be repeated after a crash.
   * @throws {WeftError} `unavailable` when trying again may help, any other kind when it cannot.
   */
  submit(job: PreparedJob): Promise<Submission>;
  inspect(jobs: readonly JobReference[]): Promise<Observation[]>;
  /** SIGTERM to the containers, SIGKILL after the grace period; returns at once. */
  cancel(job: JobReference, graceSeconds: number): Promise<void>;
  /** Path of a container's log, in the Kubernetes log format; the file may not be there yet. */
  logFile(job: JobReference, container: string): string;
}

export interface BackEndCapabilities {
  /** Keeps a queue of its own: jobs are handed over at once, and `slots` is only told, not enforced. */
  readonly queues: boolean;
  /** Jobs run on other machines than ours and outlive this one. */
  readonly remote: boolean;
}

export interface Fingerprint {
  readonly cpus: number;
  readonly memoryBytes: number;
  /** `bubblewrap`, `namespaces`, `none`. */
  readonly confinement: string;
}

/** Finds a job again. */
export interface JobReference {
  /** Of our own: the JID that the caller got. */
  readonly id: string;
  readonly token: string;
  /** Folder of the attempt on the host. */
  readonly folder: string;
  /** What `submit` returned, once it was stored. */
  readonly handle: unknown;
  readonly uid: string;
}

export interface PreparedJob extends Omit<JobReference, 'handle'> {
  readonly site: string;
  readonly namespace: string;
  readonly name: string;
  readonly initContainers: readonly PreparedContainer[];
  readonly containers: readonly PreparedContainer[];
  readonly resources: Resources;
  readonly graceSeconds: number;
  readonly deadlineSeconds: number | undefined;
}

export interface PreparedContainer {
  readonly name: string;
  readonly image: ImageSource;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly mounts: readonly Mount[];
  readonly memoryLimitBytes: number | undefined;
}

export interface Submission {
  /** The back end's own name of the job; shown to users. */
  readonly jid: string;
  readonly handle: unknown;
  /** Nothing keeps the job from seeing the host: the pod is marked. */
  readonly unconfined: boolean;
}

export type Observation = {
  readonly id: string;
  /** Present when the back end found out after a crash. */
  readonly submission?: { readonly jid: string; readonly handle: unknown };
} & (
  | { readonly state: 'unknown' } // never arrived, or not yet
  | { readonly state: 'elsewhere' } // another host of ours has to look
  | { readonly state: 'queued'; readonly reason: string; readonly message?: string }
  | { readonly state: 'running'; readonly startedAt: string; readonly containers: readonly ContainerRecord[] }
  | { readonly state: 'ended'; readonly startedAt: string; readonly end: EndRecord; readonly reason?: string }
  | { readonly state: 'cancelled' } // before it began
  // It began and is gone without having told how it ended.
  | {
      readonly state: 'lost';
      readonly reason: string;
      readonly message: string;
      readonly containers: readonly ContainerRecord[];
    }
);
