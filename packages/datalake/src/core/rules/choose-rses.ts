import { WeftError } from '@weft/kernel/errors';
import type { Quota } from '../accounts/limits.ts';

export interface Candidate {
  rseId: string;
  /** Value of the rule's weight attribute; 1 without one. */
  weight: number;
}

/** Files that go to the same RSEs: a file, a dataset, or everything, by the grouping of the rule. */
export interface FileGroup {
  id: number;
  bytes: number;
  /** Bytes of the group that are already at an RSE. */
  covered: ReadonlyMap<string, number>;
  /** RSEs where a replica of the group is just being deleted. */
  blocked: ReadonlySet<string>;
  /** RSEs that the rule chose for this group before. */
  chosen: readonly string[];
}

export interface Placement {
  groupId: number;
  rseId: string;
}

/**
 * Chooses RSEs for each group (brief rucio-daemons 3.5): what was chosen before stays; then RSEs that hold most of the
 * group; then by weighted chance. The quota shrinks with each choice.
 *
 * @throws {WeftError} `conflict`: `InsufficientTargetRSEs`, `InsufficientAccountLimit`.
 */
export function chooseRses(
  groups: readonly FileGroup[],
  candidates: readonly Candidate[],
  copies: number,
  quota: Quota,
  random: () => number = Math.random,
): Placement[] {
  if (candidates.length < copies) throw tooFewTargets();
  return groups.flatMap((group) =>
    chooseForGroup(group, candidates, copies, quota, random).map((rseId) => ({ groupId: group.id, rseId })),
  );
}

function chooseForGroup(
  group: FileGroup,
  candidates: readonly Candidate[],
  copies: number,
  quota: Quota,
  random: () => number,
): string[] {
  const picks = group.chosen.slice(0, copies);
  const free = candidates.filter(({ rseId }) => !picks.includes(rseId) && !group.blocked.has(rseId));
  if (picks.length + free.length < copies) throw tooFewTargets();
  const affordable = free.filter(({ rseId }) => quota.allows(rseId, group.bytes));
  if (picks.length + affordable.length < copies) {
    throw new WeftError(
      'conflict',
      'InsufficientAccountLimit',
      "There is insufficient quota on any of the target RSE's to fulfill the operation.",
    );
  }
  const coverage = (rseId: string) => group.covered.get(rseId) ?? 0;
  // Exponential keys: taking the smallest is a weighted draw without replacement.
  const drawn = affordable
    .map(({ rseId, weight }) => ({ rseId, key: -Math.log(1 - random()) / weight }))
    .sort((a, b) => coverage(b.rseId) - coverage(a.rseId) || a.key - b.key);
  for (const { rseId } of drawn.slice(0, copies - picks.length)) {
    quota.take(rseId, group.bytes);
    picks.push(rseId);
  }
  return picks;
}

function tooFewTargets(): WeftError {
  return new WeftError(
    'conflict',
    'InsufficientTargetRSEs',
    'Target RSE set not sufficient for number of copies.',
  );
}
