/** Where a pod is in its life at a site (brief interlink 3.4; the drawing is in the README). */
export type PodState =
  | 'accepted' // the request is stored; nothing was done yet
  | 'staging-in' // its data is being brought
  | 'ready' // everything is local; it waits for a slot, or for the next hand-over to the batch system
  | 'submitting' // the intent is stored; the back end may or may not have it already
  | 'queued' // the batch system has it and has not started it
  | 'running'
  | 'staging-out' // all containers ended with 0; their results are being carried away
  | 'succeeded'
  | 'failed'
  | 'deleting' // deletion always wins: asked for in any state, it ends the job and removes what it left
  | 'deleted'; // only the facts stay

/** Which states may follow which. Every change of a state goes through `movePods`, which looks here. */
export const TRANSITIONS: Readonly<Record<PodState, readonly PodState[]>> = {
  accepted: ['staging-in', 'ready', 'failed', 'deleting'],
  'staging-in': ['ready', 'failed', 'deleting'],
  ready: ['submitting', 'failed', 'deleting'],
  // A short job may have ended before anybody saw it run.
  submitting: ['queued', 'running', 'staging-out', 'succeeded', 'failed', 'deleting'],
  queued: ['running', 'staging-out', 'succeeded', 'failed', 'deleting'],
  running: ['staging-out', 'succeeded', 'failed', 'deleting'],
  'staging-out': ['succeeded', 'failed', 'deleting'],
  succeeded: ['deleting'],
  failed: ['deleting'],
  deleting: ['deleted'],
  deleted: [],
};

/** States in which the back end may have a process of the pod. */
export const WITH_JOB = ['submitting', 'queued', 'running'] as const satisfies readonly PodState[];

/** States that take one of a site's slots. */
export const IN_SLOT = ['submitting', 'queued', 'running'] as const satisfies readonly PodState[];

export function isFinal(state: PodState): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'deleted';
}
