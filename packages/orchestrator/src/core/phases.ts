/** What a user sees (brief 2.1). */
export type Status =
  | 'CREATE_IN_PROGRESS'
  | 'CREATE_COMPLETE'
  | 'CREATE_FAILED'
  | 'UPDATE_IN_PROGRESS'
  | 'UPDATE_COMPLETE'
  | 'UPDATE_FAILED'
  | 'DELETE_IN_PROGRESS'
  | 'DELETE_COMPLETE'
  | 'DELETE_FAILED'
  | 'UNKNOWN';

export type Task = 'NONE' | 'MONITORING' | 'QOS' | 'BROKERING' | 'DMS' | 'DEPLOYER' | 'UNKNOWN';

/** Where the workflow of a deployment stands. */
export type Phase =
  | 'placing'
  | 'staging'
  | 'submitting'
  | 'running'
  | 'publishing'
  | 'complete'
  | 'failed'
  | 'deleting'
  | 'delete-failed';

interface PhaseDefinition {
  readonly status: Status;
  readonly task: Task;
  /** Phases that may follow. */
  readonly next: readonly Phase[];
}

/**
 * The state machine of a deployment. One step of work belongs to every phase that is not an end; a step either moves to a
 * next phase or waits. Back to `placing` means: the attempt failed for a reason of the provider, try the next one.
 */
export const PHASES: Readonly<Record<Phase, PhaseDefinition>> = {
  // 3.1 steps 1-7: providers with an SLA, monitoring, data, ranking, choice
  placing: {
    status: 'CREATE_IN_PROGRESS',
    task: 'BROKERING',
    next: ['staging', 'submitting', 'failed', 'deleting'],
  },
  // 3.1 step 8: a rule at the site's RSE, wait until it is satisfied
  staging: {
    status: 'CREATE_IN_PROGRESS',
    task: 'DMS',
    next: ['submitting', 'placing', 'failed', 'deleting'],
  },
  // 3.1 step 9: hand over to the provider
  submitting: {
    status: 'CREATE_IN_PROGRESS',
    task: 'DEPLOYER',
    next: ['running', 'placing', 'failed', 'deleting'],
  },
  // 3.1 step 9: follow until done; jobs that come after others are handed over from here
  running: {
    status: 'CREATE_IN_PROGRESS',
    task: 'DEPLOYER',
    next: ['publishing', 'submitting', 'placing', 'failed', 'deleting'],
  },
  // 3.8: rules for the outputs
  publishing: { status: 'CREATE_IN_PROGRESS', task: 'DMS', next: ['complete', 'failed', 'deleting'] },
  // 3.1 step 10
  complete: { status: 'CREATE_COMPLETE', task: 'NONE', next: ['deleting'] },
  failed: { status: 'CREATE_FAILED', task: 'NONE', next: ['deleting'] },
  // 3.1 "Delete": undeploy, then the row goes away (DELETE_COMPLETE stands in the last event only)
  deleting: { status: 'DELETE_IN_PROGRESS', task: 'DEPLOYER', next: ['delete-failed'] },
  // 2.1 PATCH, or undeploying failed for good; may be tried again
  'delete-failed': { status: 'DELETE_FAILED', task: 'NONE', next: ['deleting'] },
};

export function mayFollow(from: Phase, to: Phase): boolean {
  return PHASES[from].next.includes(to);
}

/** Whether the workflow has nothing more to do by itself. */
export function isEnd(phase: Phase): boolean {
  return phase === 'complete' || phase === 'failed' || phase === 'delete-failed';
}
