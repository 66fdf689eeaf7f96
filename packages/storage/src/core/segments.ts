import { printableName } from './raw-names.ts';

/** Decoded, checked components of a path below the instance's root; the root itself has none. */
export type Segments = readonly string[];

/** The plain form used in events, logs and tables: `/a b/c`, never with a trailing slash except for the root. */
export function plainPath(segments: Segments): string {
  return printableName(`/${segments.join('/')}`);
}

/** Whether `path` is `ancestor` or lies below it, compared by whole components. */
export function isWithin(ancestor: Segments, path: Segments): boolean {
  return ancestor.length <= path.length && ancestor.every((segment, index) => path[index] === segment);
}
