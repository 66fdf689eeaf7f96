import type { Deployment, OrchestratorTables, Pod } from '../db/schema.ts';
import type { Orchestra } from './orchestra.ts';

/** A create call ends within this time, well or not (the kernel's fetch gives up after 60 s). */
export const HAND_OVER_SECONDS = 70;

export async function podsOf(
  { database }: Orchestra,
  deployment: Deployment,
  attempt?: number,
): Promise<Pod[]> {
  let query = database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.pods')
    .selectAll()
    .where('deployment_id', '=', deployment.id)
    .orderBy('attempt')
    .orderBy('job');
  if (attempt !== undefined) query = query.where('attempt', '=', attempt);
  return await query.execute();
}

export function hasEnded(pod: Pod): boolean {
  return pod.state === 'succeeded' || pod.state === 'failed';
}
