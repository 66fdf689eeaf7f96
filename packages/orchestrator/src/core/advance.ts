import type { Tx } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Job } from '@weft/kernel/work';
import type { Deployment, OrchestratorTables } from '../db/schema.ts';
import { DeploymentFailure, type FailureClass, ProviderFailure } from './failures.ts';
import type { Orchestra } from './orchestra.ts';
import { isEnd, mayFollow, type Phase } from './phases.ts';
import { announce, note, scheduleCleanUp, scheduleStep, setResources } from './records.ts';
import { deleting } from './steps/deleting.ts';
import { placing } from './steps/placing.ts';
import { publishing } from './steps/publishing.ts';
import { running } from './steps/running.ts';
import { staging } from './steps/staging.ts';
import type { DeploymentChanges, Outcome, Step } from './steps/step.ts';
import { submitting } from './steps/submitting.ts';

const STEPS: Readonly<Partial<Record<Phase, Step>>> = {
  placing,
  staging,
  submitting,
  running,
  publishing,
  deleting,
};

/** Longest pause before a step that could not be done is tried again. */
const LONGEST_PAUSE_SECONDS = 15;

/**
 * Runs the next step of a deployment and commits what it came to together with the completion of the job. Whatever the
 * step did outside is found again by the next run if this process dies before the commit.
 */
export async function advance(orchestra: Orchestra, job: Job<{ deploymentId: string }>): Promise<void> {
  const deployment = await orchestra.database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.deployments')
    .selectAll()
    .where('id', '=', job.payload.deploymentId)
    .executeTakeFirst();
  if (deployment === undefined || isEnd(deployment.phase)) return;
  const outcome = await runStep(orchestra, deployment);
  await orchestra.database.transaction(async (tx: Tx<OrchestratorTables>) => {
    await job.complete(tx);
    await commit(tx, orchestra, deployment, outcome);
  });
}

type Result = Outcome | { readonly kind: 'failed'; readonly error: unknown };

async function runStep(orchestra: Orchestra, deployment: Deployment): Promise<Result> {
  const step = STEPS[deployment.phase];
  if (step === undefined) throw new Error(`no step for the phase ${deployment.phase}`);
  const isLate = deployment.timeout_at !== null && deployment.timeout_at < new Date();
  try {
    if (isLate && deployment.phase !== 'deleting') {
      throw new DeploymentFailure(
        'TIMEOUT',
        'timeout: the time limit of the deployment (timeoutMins) has passed',
      );
    }
    return await step(orchestra, deployment);
  } catch (error) {
    return { kind: 'failed', error };
  }
}

async function commit(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
  result: Result,
): Promise<void> {
  switch (result.kind) {
    case 'gone':
      return await remove(tx, orchestra, deployment);
    case 'wait':
      if (!(await isCurrent(tx, deployment))) return;
      if (deployment.step_failures > 0) await countFailures(tx, deployment, 0);
      await result.write?.(tx);
      if (result.note !== undefined) await note(tx, orchestra, deployment, result.note);
      return await scheduleStep(tx, orchestra, deployment.id, result.seconds);
    case 'move': {
      const moved = await move(tx, orchestra, deployment, result.to, result.changes ?? {});
      if (moved === undefined) return;
      await result.write?.(tx);
      if (result.note !== undefined) await note(tx, orchestra, moved, result.note);
      return;
    }
    case 'failed':
      return await fail(tx, orchestra, deployment, result.error);
  }
}

async function fail(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
  error: unknown,
): Promise<void> {
  if (error instanceof ProviderFailure)
    return await failOver(tx, orchestra, deployment, error.failureClass, error.message);
  if (error instanceof DeploymentFailure)
    return await giveUp(tx, orchestra, deployment, error.failureClass, error.message);

  const failures = deployment.step_failures + 1;
  const reason = describeError(error);
  orchestra.log.warn(
    { deployment: deployment.id, phase: deployment.phase, failures, reason },
    'a step could not be done',
  );
  if (failures >= orchestra.config.step_attempts) {
    switch (deployment.phase) {
      case 'submitting':
        return await failOver(tx, orchestra, deployment, 'PROVIDER_DOWN', reason);
      case 'deleting':
        return await failDeletion(tx, orchestra, deployment, reason);
      // A job that may be running is never given up because its site does not answer (brief interlink 3.4, 9).
      case 'running':
        break;
      // The datalake is the same for every provider: worth more patience than a site.
      case 'staging':
      case 'publishing':
        if (isDown(error) && failures * LONGEST_PAUSE_SECONDS < orchestra.config.outage_seconds) break;
        return await giveUp(tx, orchestra, deployment, isDown(error) ? 'PROVIDER_DOWN' : 'INTERNAL', reason);
      default:
        return await giveUp(tx, orchestra, deployment, isDown(error) ? 'PROVIDER_DOWN' : 'INTERNAL', reason);
    }
  }
  if (!(await isCurrent(tx, deployment))) return;
  await countFailures(tx, deployment, failures);
  if (failures === 1) await note(tx, orchestra, deployment, `${deployment.phase}: ${reason}; trying again`);
  await scheduleStep(
    tx,
    orchestra,
    deployment.id,
    Math.min(LONGEST_PAUSE_SECONDS, 0.25 * 2 ** Math.min(failures, 10)),
  );
}

function isDown(error: unknown): boolean {
  return error instanceof WeftError && (error.kind === 'unavailable' || error.kind === 'upstream');
}

/** Ends the attempt and goes back to placing; what it left behind is cleaned while the next one runs (brief 3.3). */
async function failOver(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
  failureClass: FailureClass,
  reason: string,
): Promise<void> {
  const moved = await move(tx, orchestra, deployment, 'placing', {});
  if (moved === undefined) return;
  await endAttempt(tx, deployment, failureClass, reason);
  await scheduleCleanUp(tx, orchestra, deployment.id);
  await note(
    tx,
    orchestra,
    moved,
    `${deployment.provider ?? 'the provider'} failed (${failureClass}): ${reason}`,
  );
}

async function giveUp(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
  failureClass: FailureClass,
  reason: string,
): Promise<void> {
  const moved = await move(tx, orchestra, deployment, 'failed', { status_reason: reason });
  if (moved === undefined) return;
  await endAttempt(tx, deployment, failureClass, reason);
  await setResources(tx, deployment.id, 'ERROR');
  await scheduleCleanUp(tx, orchestra, deployment.id);
  await note(tx, orchestra, moved, `failed (${failureClass}): ${reason}`);
}

async function failDeletion(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
  reason: string,
): Promise<void> {
  const moved = await move(tx, orchestra, deployment, 'delete-failed', { status_reason: reason });
  if (moved !== undefined) await note(tx, orchestra, moved, `deletion failed: ${reason}`);
}

/**
 * Moves a deployment that is still as it was loaded; gives its new row, or undefined when somebody else has moved it.
 * The next step is scheduled, and everybody who listens is told, in the same transaction.
 */
async function move(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
  to: Phase,
  changes: DeploymentChanges,
): Promise<Deployment | undefined> {
  if (!mayFollow(deployment.phase, to)) throw new Error(`${deployment.phase} may not be followed by ${to}`);
  const now = new Date();
  const moved = await tx
    .updateTable('orchestrator.deployments')
    .set({ ...changes, phase: to, phase_since: now, updated_at: now, step_failures: 0 })
    .set((row) => ({ revision: row('revision', '+', 1) }))
    .where('id', '=', deployment.id)
    .where('revision', '=', deployment.revision)
    .returningAll()
    .executeTakeFirst();
  if (moved === undefined) return undefined;
  if (to === 'complete') {
    await setResources(tx, deployment.id, 'STARTED');
    await scheduleCleanUp(tx, orchestra, deployment.id);
  }
  if (!isEnd(to)) await scheduleStep(tx, orchestra, deployment.id);
  await announce(tx, orchestra, moved);
  return moved;
}

async function remove(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
): Promise<void> {
  const removed = await tx
    .deleteFrom('orchestrator.deployments')
    .where('id', '=', deployment.id)
    .where('revision', '=', deployment.revision)
    .returningAll()
    .executeTakeFirst();
  if (removed !== undefined) await announce(tx, orchestra, removed, 'DELETE_COMPLETE');
}

async function isCurrent(tx: Tx<OrchestratorTables>, deployment: Deployment): Promise<boolean> {
  const row = await tx
    .selectFrom('orchestrator.deployments')
    .select('id')
    .where('id', '=', deployment.id)
    .where('revision', '=', deployment.revision)
    .forUpdate()
    .executeTakeFirst();
  return row !== undefined;
}

async function countFailures(
  tx: Tx<OrchestratorTables>,
  deployment: Deployment,
  failures: number,
): Promise<void> {
  await tx
    .updateTable('orchestrator.deployments')
    .set({ step_failures: failures })
    .where('id', '=', deployment.id)
    .execute();
}

async function endAttempt(
  tx: Tx<OrchestratorTables>,
  deployment: Deployment,
  failureClass: FailureClass,
  failure: string,
): Promise<void> {
  await tx
    .updateTable('orchestrator.attempts')
    .set({ ended_at: new Date(), failure_class: failureClass, failure })
    .where('deployment_id', '=', deployment.id)
    .where('number', '=', deployment.attempt)
    .execute();
}
