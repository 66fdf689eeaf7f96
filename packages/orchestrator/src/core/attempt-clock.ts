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

const SHORTEST_PAUSE_SECONDS = 0.5;

/**
 * Pause before the next look at something that goes on elsewhere: a quarter of the time it has taken so far, so that
 * short things are noticed soon even where the other side tells no events (brief 3.1: adaptive interval).
 */
export function pauseSeconds(deployment: Deployment, longestSeconds: number): number {
  const elapsedSeconds = (Date.now() - deployment.phase_since.getTime()) / 1000;
  return Math.min(longestSeconds, Math.max(SHORTEST_PAUSE_SECONDS, elapsedSeconds / 4));
}
