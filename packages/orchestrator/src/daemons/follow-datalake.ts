import type { Daemon } from '@weft/kernel/component';
import type { Tx } from '@weft/kernel/database';
import { type CloudEvent, followEvents } from '@weft/kernel/events';
import type { GuardedFetch } from '@weft/kernel/http';
import { DATALAKE_SCOPES } from '../core/delegations.ts';
import type { Orchestra } from '../core/orchestra.ts';
import { hurrySteps } from '../core/records.ts';
import type { OrchestratorTables } from '../db/schema.ts';

/** Hurries deployments that wait for a rule. The event is a hint: the step asks the datalake for the rule's state. */
export function followDatalake(orchestra: Orchestra, fetch: GuardedFetch): Daemon | undefined {
  const { datalake } = orchestra.config;
  if (datalake === undefined) return undefined;
  return followEvents<OrchestratorTables>(
    {
      database: orchestra.database,
      wakeUps: orchestra.wakeUps,
      fetch,
      log: orchestra.log,
      name: 'orchestrator<-datalake',
      url: datalake.url,
      types: ['rule.ok', 'rule.updated', 'rule.stuck'],
      token: async () => await orchestra.tokens.own({ audience: datalake.url, scopes: DATALAKE_SCOPES }),
    },
    async (tx, events) => await hurryStaging(tx, orchestra, events),
  );
}

async function hurryStaging(
  tx: Tx<OrchestratorTables>,
  orchestra: Orchestra,
  events: readonly CloudEvent[],
): Promise<void> {
  const ids = [...new Set(events.map((event) => event.subject))];
  const waiting = await tx
    .selectFrom('orchestrator.rules')
    .innerJoin('orchestrator.deployments', 'orchestrator.deployments.id', 'orchestrator.rules.deployment_id')
    .select('orchestrator.deployments.id')
    .distinct()
    .where('orchestrator.rules.rule_id', 'in', ids)
    .where('orchestrator.deployments.phase', '=', 'staging')
    .execute();
  await hurrySteps(
    tx,
    orchestra,
    waiting.map(({ id }) => id),
  );
}
