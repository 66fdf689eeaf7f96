import { WeftError } from '@weft/kernel/errors';

/** Groups come with a leading slash (WLCG) and without (others); compared without (brief 8.28). */
export function normaliseGroup(group: string): string {
  return group.replace(/^\/+/, '');
}

export function mayUse(group: string, allowed: readonly string[]): boolean {
  return allowed.includes('*') || allowed.some((one) => normaliseGroup(one) === normaliseGroup(group));
}

/**
 * The group that a deployment is made for: the one asked for, when the user is in it; else her only group; else the
 * configured default (brief 2.1: orpy never names one).
 *
 * @throws {WeftError} `forbidden` for a group that she is not in; `invalid` when several would do
 */
export function chooseGroup(
  groups: readonly string[],
  requested: string | undefined,
  fallback: string | undefined,
): string {
  const mine = [...new Set(groups.map(normaliseGroup))].filter((group) => group !== '');
  if (requested !== undefined && requested !== '') {
    const wanted = normaliseGroup(requested);
    if (mine.includes(wanted)) return wanted;
    throw new WeftError(
      'forbidden',
      'not-in-group',
      `The group ${requested} is not among the user's authorized groups.`,
    );
  }
  const [only] = mine;
  if (only !== undefined && mine.length === 1) return only;
  if (fallback !== undefined && (mine.length === 0 || mine.includes(normaliseGroup(fallback)))) {
    return normaliseGroup(fallback);
  }
  if (mine.length === 0)
    throw new WeftError('forbidden', 'no-group', 'The token names no group of the user.');
  throw new WeftError('invalid', 'group-needed', `userGroup is needed, one of: ${mine.join(', ')}.`);
}
