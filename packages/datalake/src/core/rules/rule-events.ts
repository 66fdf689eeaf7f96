import type { Tx } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import type { Lake } from '../lake.ts';
import { printId } from '../names.ts';
import { ruleRecord } from '../records/rule-record.ts';
import { getRules } from './read-rules.ts';

export type RuleEvent = 'rule.created' | 'rule.updated' | 'rule.ok' | 'rule.stuck' | 'rule.deleted';

/** Announces changes of rules; the data is the rule as a GET shows it at the end of the transaction's statement. */
export async function emitRuleEvents(
  tx: Tx,
  lake: Lake,
  changes: readonly { ruleId: string; type: RuleEvent }[],
): Promise<void> {
  if (changes.length === 0) return;
  const rules = new Map(
    (
      await getRules(
        tx,
        changes.map(({ ruleId }) => ruleId),
      )
    ).map((rule) => [rule.id, rule]),
  );
  const events = changes.flatMap(({ ruleId, type }) => {
    const rule = rules.get(ruleId);
    return rule ? [{ type, subject: printId(ruleId), data: ruleRecord(rule) }] : [];
  });
  await emit(tx, lake.wakeUps, 'datalake', events);
}
