import { describeError, WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import { loadTopology } from '../rses/topology.ts';
import { injectRule } from './add-rules.ts';
import { getRule } from './read-rules.ts';
import { emitRuleEvents } from './rule-events.ts';

/** Rolls the application back and names the rule. */
class RuleRefused extends Error {
  override readonly name = 'RuleRefused';
  readonly ruleId: string;

  constructor(ruleId: string, cause: WeftError) {
    super(describeError(cause), { cause });
    this.ruleId = ruleId;
  }
}

/** Applies one rule whose time has come. A rule that cannot be fulfilled (quota, RSEs) is suspended with the reason. */
export async function injectDueRule(lake: Lake): Promise<'more' | 'idle'> {
  try {
    return await lake.database.transaction(async (tx) => {
      const { rows } = await sql<{ id: string }>`
        select id from datalake.rules where state = 'INJECT' and created_at <= now()
        order by created_at limit 1 for update skip locked`.execute(tx);
      const id = rows[0]?.id;
      if (id === undefined) return 'idle';
      const topology = await loadTopology(tx);
      await injectRule(tx, lake, topology, await getRule(tx, id), false).catch((error: unknown) => {
        throw error instanceof WeftError ? new RuleRefused(id, error) : error;
      });
      return 'more';
    });
  } catch (error) {
    if (!(error instanceof RuleRefused)) throw error;
    await suspend(lake, error);
    return 'more';
  }
}

async function suspend(lake: Lake, { ruleId, message }: RuleRefused): Promise<void> {
  await lake.database.transaction(async (tx) => {
    await sql`
      update datalake.rules set state = 'SUSPENDED', error = ${message.slice(0, 255)}, updated_at = now()
      where id = ${ruleId} and state = 'INJECT'`.execute(tx);
    await emitRuleEvents(tx, lake, [{ ruleId, type: 'rule.updated' }]);
  });
}
