import { WeftError } from '@weft/kernel/errors';
import type { RuleRow } from '../../db/schema.ts';
import type { Topology } from '../rses/topology.ts';
import type { Candidate } from './choose-rses.ts';

type Wish = Pick<RuleRow, 'rse_expression' | 'weight' | 'ignore_availability'>;

/**
 * The RSEs a rule may use: those of its expression that are writable (unless it ignores that) and not volatile, with
 * their weights; RSEs without the weight attribute are out (brief rucio-daemons 3.5).
 *
 * @throws {WeftError} `InvalidRSEExpression`, `RSEWriteBlocked`, `InvalidRuleWeight`.
 */
export function rsesForRule(topology: Topology, rule: Wish): Candidate[] {
  const matching = topology.select(rule.rse_expression).filter((rse) => !rse.volatile);
  const usable = matching.filter((rse) => rule.ignore_availability || rse.availability_write);
  if (usable.length === 0) {
    throw new WeftError(
      'conflict',
      'RSEWriteBlocked',
      `No RSE of '${rule.rse_expression}' can be written at the moment.`,
    );
  }
  const { weight } = rule;
  if (weight === null) return usable.map(({ id }) => ({ rseId: id, weight: 1 }));
  return usable.flatMap((rse) => {
    const text = rse.attributes.get(weight);
    if (text === undefined) return [];
    const value = Number(text);
    if (Number.isNaN(value)) {
      throw new WeftError(
        'conflict',
        'InvalidRuleWeight',
        `The attribute ${weight} of ${rse.rse} is no number: ${text}.`,
      );
    }
    return value > 0 ? [{ rseId: rse.id, weight: value }] : [];
  });
}

/** RSEs that may be read from for this rule. */
export function sourcesForRule(
  topology: Topology,
  rule: Pick<RuleRow, 'source_replica_expression'>,
): string[] {
  const allowed =
    rule.source_replica_expression === null ? topology.rses : topology.select(rule.source_replica_expression);
  return allowed.filter((rse) => rse.availability_read).map(({ id }) => id);
}
