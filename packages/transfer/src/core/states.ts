/**
 * States of files and jobs, and the moves between them that this version makes (brief fts 3.1). Terminal states are never
 * left: every statement that moves a file names the states it may come from.
 */
export const FILE_STATES = [
  'TOKEN_PREP',
  'STAGING',
  'STARTED',
  'SUBMITTED',
  'READY',
  'ACTIVE',
  'ARCHIVING',
  'ON_HOLD',
  'ON_HOLD_STAGING',
  'FORCE_START',
  'NOT_USED',
  'FINISHED',
  'FAILED',
  'CANCELED',
] as const;
export type FileState = (typeof FILE_STATES)[number];

export const JOB_STATES = [
  'STAGING',
  'SUBMITTED',
  'READY',
  'ACTIVE',
  'ARCHIVING',
  'FINISHED',
  'FINISHEDDIRTY',
  'FAILED',
  'CANCELED',
] as const;
export type JobState = (typeof JOB_STATES)[number];

export const TERMINAL_FILE_STATES = [
  'FINISHED',
  'FAILED',
  'CANCELED',
] as const satisfies readonly FileState[];
/** From a state to the states that may follow it. */
export const FILE_TRANSITIONS: Readonly<Record<FileState, readonly FileState[]>> = {
  TOKEN_PREP: ['STAGING', 'SUBMITTED', 'FAILED', 'CANCELED'],
  STAGING: ['STARTED', 'ON_HOLD_STAGING', 'FAILED', 'CANCELED'],
  STARTED: ['STAGING', 'SUBMITTED', 'FINISHED', 'FAILED', 'CANCELED'],
  // A mover lives in one process and starts a file as it claims it, so READY is passed in the same statement.
  SUBMITTED: ['READY', 'ACTIVE', 'ON_HOLD', 'FORCE_START', 'FAILED', 'CANCELED'],
  READY: ['ACTIVE', 'SUBMITTED', 'FAILED', 'CANCELED'],
  // Back to SUBMITTED: a failure that can be retried, or a mover that died.
  ACTIVE: ['SUBMITTED', 'ARCHIVING', 'FINISHED', 'FAILED', 'CANCELED'],
  ARCHIVING: ['FINISHED', 'FAILED', 'CANCELED'],
  ON_HOLD: ['SUBMITTED', 'FAILED', 'CANCELED'],
  ON_HOLD_STAGING: ['STAGING', 'FAILED', 'CANCELED'],
  FORCE_START: ['READY', 'ACTIVE', 'CANCELED'],
  // The next hop after a hop that finished, the next replica after one that failed.
  NOT_USED: ['SUBMITTED', 'STAGING', 'CANCELED'],
  FINISHED: [],
  FAILED: [],
  CANCELED: [],
};

/** What a job says about itself in every terminal state but FINISHED. */
export const JOB_FAILED_REASON =
  'One or more files failed. Please have a look at the details for more information';
export const CANCELED_REASON = 'Job canceled by the user';

/** The files of a job as the job's state depends on them. */
export interface FileOfJob {
  readonly fileIndex: number;
  readonly state: FileState;
}

/**
 * The terminal state that follows from the files, or undefined while one of them is still to be done (brief 3.1). The
 * statement in `derive-job-states.ts` computes the same over a set; the tests compare the two.
 */
export function terminalJobState(
  type: 'N' | 'Y' | 'H' | 'R',
  files: readonly FileOfJob[],
): JobState | undefined {
  const idle: readonly FileState[] = [...TERMINAL_FILE_STATES, 'NOT_USED'];
  if (files.some(({ state }) => !idle.includes(state))) return undefined;
  const indexes = new Map<number, FileState[]>();
  for (const { fileIndex, state } of files)
    indexes.set(fileIndex, [...(indexes.get(fileIndex) ?? []), state]);
  let finished = 0;
  let failed = 0;
  let canceled = 0;
  for (const states of indexes.values()) {
    if (states.includes('FINISHED')) finished++;
    else if (states.includes('FAILED')) failed++;
    else if (states.includes('CANCELED')) canceled++;
  }
  if (failed > 0) return finished > 0 && type !== 'H' ? 'FINISHEDDIRTY' : 'FAILED';
  if (canceled > 0) return 'CANCELED';
  return 'FINISHED';
}
