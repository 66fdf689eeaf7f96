import type { Deployment, OrchestratorTables } from '../db/schema.ts';
import type { Orchestra } from './orchestra.ts';

/** Whether the attempt in hand has used up the request's `providerTimeoutMins`. */
export async function attemptIsLate({ database }: Orchestra, deployment: Deployment): Promise<boolean> {
  const attempt = await database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.attempts')
    .select('started_at')
    .where('deployment_id', '=', deployment.id)
    .where('number', '=', deployment.attempt)
    .executeTakeFirst();
  const limit = deployment.provider_timeout_minutes * 60_000;
  return attempt !== undefined && Date.now() - attempt.started_at.getTime() > limit;
}
