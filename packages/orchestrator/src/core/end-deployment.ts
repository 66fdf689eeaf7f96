import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { Deployment, OrchestratorTables } from '../db/schema.ts';
import { authorityFor } from './create-deployment.ts';
import { CANCEL_SCOPES, exchangeAll, storeDelegations } from './delegations.ts';
import type { Orchestra } from './orchestra.ts';
import { announce, note, scheduleStep, setResources } from './records.ts';

/**
 * Begins the deletion: whatever the workflow is doing, its next commit finds itself overtaken.
 *
 * @throws {WeftError} `conflict` when the deletion is under way
 */
export async function endDeployment(
  orchestra: Orchestra,
  deployment: Deployment,
  subjectToken: string,
  force: boolean,
): Promise<void> {
  if (deployment.phase === 'deleting') {
    throw new WeftError(
      'conflict',
      'deletion-in-progress',
      `Deployment ${deployment.id} is being deleted already.`,
    );
  }
  // The tokens of the creation are gone at the end of a deployment, and may be refused by now.
  const requests =
    deployment.attempt === 0
      ? []
      : authorityFor(orchestra, deployment.plan, deployment.user_group, CANCEL_SCOPES);
  const delegations = await exchangeAll(orchestra, subjectToken, requests);
  await orchestra.database.transaction(async (tx: Tx<OrchestratorTables>) => {
    const now = new Date();
    const ending = await tx
      .updateTable('orchestrator.deployments')
      .set({ phase: 'deleting', phase_since: now, updated_at: now, step_failures: 0, force })
      .set((row) => ({ revision: row('revision', '+', 1) }))
      .where('id', '=', deployment.id)
      .where('phase', '<>', 'deleting')
      .returningAll()
      .executeTakeFirst();
    if (ending === undefined)
      throw new WeftError('conflict', 'conflict', 'The deployment was changed at the same time.');
    await storeDelegations(tx, orchestra, deployment.id, delegations);
    await setResources(tx, deployment.id, 'DELETING');
    await note(tx, orchestra, ending, force ? 'deletion asked for, with force' : 'deletion asked for');
    await announce(tx, orchestra, ending);
    await scheduleStep(tx, orchestra, deployment.id);
  });
}

/** A deletion that hangs may be declared failed, to be tried again (brief 2.1, PATCH). */
export async function giveUpDeletion(orchestra: Orchestra, deployment: Deployment): Promise<void> {
  await orchestra.database.transaction(async (tx: Tx<OrchestratorTables>) => {
    const now = new Date();
    const reset = await tx
      .updateTable('orchestrator.deployments')
      .set({ phase: 'delete-failed', phase_since: now, updated_at: now, step_failures: 0 })
      .set((row) => ({ revision: row('revision', '+', 1) }))
      .where('id', '=', deployment.id)
      .where('phase', '=', 'deleting')
      .returningAll()
      .executeTakeFirst();
    if (reset === undefined) {
      throw new WeftError(
        'conflict',
        'not-deleting',
        `Deployment ${deployment.id} is not in DELETE_IN_PROGRESS.`,
      );
    }
    await note(tx, orchestra, reset, 'the deletion was declared failed');
    await announce(tx, orchestra, reset);
  });
}
