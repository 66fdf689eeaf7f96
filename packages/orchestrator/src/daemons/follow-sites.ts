import type { Daemon } from '@weft/kernel/component';
import type { Tx } from '@weft/kernel/database';
import { type CloudEvent, followEvents } from '@weft/kernel/events';
import type { GuardedFetch } from '@weft/kernel/http';
import type { Orchestra } from '../core/orchestra.ts';
import { hurrySteps } from '../core/records.ts';
import type { OrchestratorTables } from '../db/schema.ts';

/** Hurries deployments whose pods have changed; one follower a site. The event is a hint: the step asks the site. */
export function followSites(orchestra: Orchestra, fetch: GuardedFetch): Daemon {
  const followers = orchestra.config.providers.map((provider) =>
    followEvents<OrchestratorTables>(
      {
        database: orchestra.database,
        wakeUps: orchestra.wakeUps,
        fetch,
        log: orchestra.log,
        name: `orchestrator<-${provider.name}`,
        url: provider.url,
        types: ['pod.updated'],
        token: async () => await orchestra.tokens.own({ audience: provider.url, scopes: ['compute.read'] }),
      },
      async (tx, events) => await hurryRunning(tx, orchestra, provider.name, events),
    ),
  );
  return {
    nudge: () => {
      for (const follower of followers) follower.nudge();
    },
    stop: async () => {
      await Promise.all(followers.map((follower) => follower.stop()));
    },
  };
}

async function hurryRunning(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  provider: string,
  events: readonly CloudEvent[],
): Promise<void> {
  // The subject is namespace/name.
  const names = [...new Set(events.map(({ subject }) => subject.slice(subject.indexOf('/') + 1)))];
  const waiting = await tx
    .selectFrom('orchestrator.pods')
    .innerJoin('orchestrator.deployments', 'orchestrator.deployments.id', 'orchestrator.pods.deployment_id')
    .select('orchestrator.deployments.id')
    .distinct()
    .where('orchestrator.pods.provider', '=', provider)
    .where('orchestrator.pods.name', 'in', names)
    .where('orchestrator.deployments.phase', '=', 'running')
    .execute();
  await hurrySteps(
    tx,
    orchestra,
    waiting.map(({ id }) => id),
  );
}
