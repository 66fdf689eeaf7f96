/** What a state of Slurm means for a pod (brief interlink 3.6, table). */
export type SlurmMeaning =
  | { readonly kind: 'queued'; readonly reason: string }
  | { readonly kind: 'running' }
  /** `reason` when it was not the containers' own doing. */
  | { readonly kind: 'over'; readonly reason?: string };

const queued = (reason = 'Queued') => ({ kind: 'queued', reason }) as const;
const running = { kind: 'running' } as const;
const over = (reason?: string) => ({ kind: 'over', ...(reason === undefined ? {} : { reason }) }) as const;

/** By the long names that `squeue --format=%T` prints. */
const MEANINGS: Readonly<Record<string, SlurmMeaning>> = {
  PENDING: queued(),
  REQUEUED: queued(),
  REQUEUE_FED: queued(),
  REQUEUE_HOLD: queued(),
  SPECIAL_EXIT: queued(),
  RESV_DEL_HOLD: queued(),
  CONFIGURING: queued('Configuring'),
  RUNNING: running,
  COMPLETING: running,
  STAGE_OUT: running,
  SIGNALING: running,
  RESIZING: running,
  SUSPENDED: running,
  STOPPED: running,
  COMPLETED: over(),
  FAILED: over(),
  LAUNCH_FAILED: over('JobLaunchFailure'),
  RECONFIG_FAIL: over('JobLaunchFailure'),
  BOOT_FAIL: over('NodeLost'),
  NODE_FAIL: over('NodeLost'),
  CANCELLED: over('Cancelled'),
  TIMEOUT: over('DeadlineExceeded'),
  DEADLINE: over('DeadlineExceeded'),
  OUT_OF_MEMORY: over('OOMKilled'),
  PREEMPTED: over('Evicted'),
  REVOKED: over('Evicted'),
};

/** A state that nobody knows yet is waited out. */
export function meaningOf(state: string): SlurmMeaning {
  return MEANINGS[state] ?? running;
}

/** A job as `squeue` lists it. */
export interface ListedJob {
  readonly jid: string;
  readonly state: string;
  /** Why it waits: `Priority`, `Resources`, … */
  readonly reason: string;
  readonly token: string;
}

/** Marks jobs as ours, and says which attempt it is: names of jobs belong to the users (brief interlink 8.27). */
export const COMMENT_PREFIX = 'weft:';
/** Id, state, reason, comment; the comment last, because it may hold anything. */
export const LIST_FORMAT = '%i|%T|%r|%k';

/** @example parseList('17|PENDING|Priority|weft:0d8f…\n') // [{ jid: '17', state: 'PENDING', … }] */
export function parseList(output: string): ListedJob[] {
  return output.split('\n').flatMap((line) => {
    const [jid, state, reason, ...comment] = line.trim().split('|');
    const text = comment.join('|');
    if (jid === undefined || state === undefined || reason === undefined || !text.startsWith(COMMENT_PREFIX))
      return [];
    return [{ jid, state, reason, token: text.slice(COMMENT_PREFIX.length) }];
  });
}
