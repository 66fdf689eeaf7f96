import type { Daemon } from '@weft/kernel/component';
import { WeftError } from '@weft/kernel/errors';
import type { GuardedFetch } from '@weft/kernel/http';
import { startWorker } from '@weft/kernel/work';
import type { Orchestra } from '../core/orchestra.ts';
import { PHASES } from '../core/phases.ts';
import { callbackQueue } from '../core/records.ts';
import type { OrchestratorTables } from '../db/schema.ts';

const ANSWER_MILLISECONDS = 10_000;

/**
 * POSTs a deployment to the `callback` of its request after each change (brief 2.1). Changes that come while one call
 * waits are one call: it carries the state at its own time, so calls never tell an older state after a newer one.
 */
export function deliverCallbacks(orchestra: Orchestra, fetch: GuardedFetch): Daemon {
  const { database, wakeUps, log } = orchestra;
  return startWorker(
    callbackQueue,
    { database, wakeUps, log, concurrency: 2 },
    async ({ payload, signal }) => {
      const body = payload.last ?? (await currentState(orchestra, payload.deploymentId));
      if (body === undefined) return;
      const response = await fetch(payload.callback, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        redirect: 'error',
        timeoutMilliseconds: ANSWER_MILLISECONDS,
        signal,
      });
      await response.body?.cancel();
      if (!response.ok)
        throw new WeftError('upstream', 'callback-refused', `the callback answered ${response.status}`);
    },
  );
}

async function currentState(orchestra: Orchestra, id: string): Promise<Record<string, unknown> | undefined> {
  const deployment = await orchestra.database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.deployments')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst();
  return deployment === undefined ? undefined : orchestra.describe(deployment, PHASES[deployment.phase]);
}
