import { randomUUID } from 'node:crypto';
import type { AnyTx, Tx } from '@weft/kernel/database';
import { emit, type NewEvent } from '@weft/kernel/events';
import { defineQueue, enqueue } from '@weft/kernel/work';
import { z } from 'zod';
import type { Deployment, OrchestratorTables, ResourceState } from '../db/schema.ts';
import type { Orchestra } from './orchestra.ts';
import { PHASES, type Status, type Task } from './phases.ts';
import type { PlannedNode } from './plan.ts';

/** What is written beside every change of a deployment: log, resources, events, callbacks, and the next step. */

/** One step of a deployment's workflow. The key is the deployment, so a hint only moves the waiting step forward. */
export const advanceQueue = defineQueue({
  name: 'orchestrator.advance-deployments',
  payload: z.strictObject({ deploymentId: z.uuid() }),
  // A step counts its own failures; this bounds only what it could not even record.
  maxAttempts: 1_000,
});

/** What failed attempts and ended deployments have left behind. */
export const cleanUpQueue = defineQueue({
  name: 'orchestrator.clean-up',
  payload: z.strictObject({ deploymentId: z.uuid() }),
});

/** Notices to the `callback` of a request (brief 2.1). */
export const callbackQueue = defineQueue({
  name: 'orchestrator.deliver-callbacks',
  payload: z.strictObject({
    callback: z.string(),
    deploymentId: z.uuid(),
    /** Set for the last notice only, when the deployment is gone from the database. */
    last: z.record(z.string(), z.unknown()).optional(),
  }),
  maxAttempts: 20,
});

export async function scheduleStep(
  tx: AnyTx,
  orchestra: Orchestra,
  deploymentId: string,
  seconds = 0,
): Promise<void> {
  // Without a time it may run at once; the present, told by our clock, would be the future of the database's.
  const when = seconds === 0 ? {} : { runAt: new Date(Date.now() + seconds * 1000) };
  await enqueue(tx, orchestra.wakeUps, advanceQueue, [
    { payload: { deploymentId }, key: deploymentId, ...when },
  ]);
}

/** Lets the waiting steps of several deployments run now. */
export async function hurrySteps(
  tx: AnyTx,
  orchestra: Orchestra,
  deploymentIds: readonly string[],
): Promise<void> {
  const jobs = deploymentIds.map((deploymentId) => ({ payload: { deploymentId }, key: deploymentId }));
  await enqueue(tx, orchestra.wakeUps, advanceQueue, jobs);
}

export async function scheduleCleanUp(tx: AnyTx, orchestra: Orchestra, deploymentId: string): Promise<void> {
  await enqueue(tx, orchestra.wakeUps, cleanUpQueue, [{ payload: { deploymentId }, key: deploymentId }]);
}

/** Adds a line to the deployment's log, and the event `deployment.log`. */
export async function note(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  of: Deployment,
  message: string,
): Promise<void> {
  await tx.insertInto('orchestrator.log').values({ deployment_id: of.id, message }).execute();
  await announceAll(tx, orchestra, [
    {
      type: 'deployment.log',
      subject: of.id,
      data: { message, at: new Date().toISOString(), ...ownerOf(of) },
    },
  ]);
}

/** Emits `deployment.updated` with the whole entity, and calls back. */
export async function announce(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  deployment: Deployment,
  gone?: 'DELETE_COMPLETE',
): Promise<void> {
  const shown: { status: Status; task: Task } =
    gone === undefined ? PHASES[deployment.phase] : { status: gone, task: 'NONE' };
  const data = orchestra.describe(deployment, shown);
  await announceAll(tx, orchestra, [{ type: 'deployment.updated', subject: deployment.id, data }]);
  if (deployment.callback === null) return;
  const { callback, id } = deployment;
  const payload = { callback, deploymentId: id, ...(gone === undefined ? {} : { last: data }) };
  await enqueue(tx, orchestra.wakeUps, callbackQueue, [{ payload, key: `${id}${gone ?? ''}` }]);
}

async function announceAll(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  events: NewEvent[],
): Promise<void> {
  await emit(tx, orchestra.wakeUps, 'orchestrator', events);
}

/** Enough for a stream to decide who may see the event. */
function ownerOf({ issuer, subject, user_group }: Deployment) {
  return { createdBy: { issuer, subject }, userGroup: user_group };
}

/** One resource per node template, made with the deployment (brief 2.1). */
export async function addResources(
  tx: Tx<OrchestratorTables>,
  deploymentId: string,
  nodes: readonly PlannedNode[],
): Promise<void> {
  if (nodes.length === 0) return;
  await tx
    .insertInto('orchestrator.resources')
    .values(
      nodes.map((node, position) => ({
        id: randomUUID(),
        deployment_id: deploymentId,
        position,
        node_name: node.name,
        node_type: node.type,
        required_by: [...node.requiredBy],
        state: 'INITIAL' as const,
      })),
    )
    .execute();
}

/** Sets the state of some nodes' resources, of all when no names are given. */
export async function setResources(
  tx: Tx<OrchestratorTables>,
  deploymentId: string,
  state: ResourceState,
  names?: readonly string[],
): Promise<void> {
  if (names?.length === 0) return;
  let update = tx
    .updateTable('orchestrator.resources')
    .set({ state, updated_at: new Date() })
    .where('deployment_id', '=', deploymentId);
  if (names !== undefined) update = update.where('node_name', 'in', [...names]);
  await update.execute();
}
