import type { Segments } from '../resource-path.ts';

/** Paths of a policy, below its area. */
export interface PathPattern {
  matches(inner: Segments): boolean;
  /** Whether something at or below `inner` may match. */
  reaches(inner: Segments): boolean;
  /** Whether `inner` and everything that could be below it matches. */
  coversTree(inner: Segments): boolean;
}

/**
 * `*` within a name, `?` for one character, `**` as a whole name for any number of names, none included.
 *
 * @example parsePattern('/raw/**').matches(['raw']) // true
 */
export function parsePattern(text: string): PathPattern {
  const names = text.split('/').filter((name) => name !== '');
  const parts = names.map((name) => (name === '**' ? ANY : nameMatcher(name)));
  return {
    matches: (inner) => follow(parts, inner).has(parts.length),
    reaches: (inner) => follow(parts, inner).size > 0,
    coversTree: (inner) => parts.at(-1) === ANY && follow(parts, inner).has(parts.length - 1),
  };
}

const ANY = Symbol('any number of names');
type Part = typeof ANY | ((name: string) => boolean);

/** Positions in the pattern at which one can be after all of a path: no backtracking, whatever is asked. */
function follow(parts: readonly Part[], path: Segments): ReadonlySet<number> {
  let positions = skipAny(parts, [0]);
  for (const name of path) {
    const next: number[] = [];
    for (const position of positions) {
      const part = parts[position];
      if (part === ANY) next.push(position);
      else if (part?.(name)) next.push(position + 1);
    }
    positions = skipAny(parts, next);
    if (positions.size === 0) break;
  }
  return positions;
}

function skipAny(parts: readonly Part[], from: readonly number[]): ReadonlySet<number> {
  const positions = new Set(from);
  for (const position of positions) if (parts[position] === ANY) positions.add(position + 1);
  return positions;
}

function nameMatcher(pattern: string): (name: string) => boolean {
  if (!/[*?]/.test(pattern)) return (name) => name === pattern;
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  const expression = new RegExp(`^${escaped.replace(/\*+/g, '.*').replaceAll('?', '.')}$`, 'su');
  return (name) => expression.test(name);
}
