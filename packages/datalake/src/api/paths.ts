import { WeftError } from '@weft/kernel/errors';

/**
 * Routing on the raw, undecoded path (brief rucio-api 2.0, paths): the client sends names by `quote_plus`, so `%2F` is a
 * slash within a name and `+` a blank. Servers and browsers in between also produce the decoded form
 * (`/dids/cms//A/B/C/files`): there the scope ends at the first slash and the suffix is matched from the right.
 */
export interface PathPattern {
  readonly segments: readonly Segment[];
}

type Segment = { readonly literal: string } | { readonly parameter: string };

/** The one parameter that may hold slashes in the decoded form. */
const GREEDY = 'name';

/** @example parsePattern('/dids/:scope/:name/files') */
export function parsePattern(pattern: string): PathPattern {
  const segments = pattern
    .split('/')
    .slice(1)
    .map((part): Segment => (part.startsWith(':') ? { parameter: part.slice(1) } : { literal: part }));
  return { segments };
}

export type PathParameters = Readonly<Record<string, string>>;

/** Exactly one raw segment for each segment of the pattern. */
export function matchRaw({ segments }: PathPattern, raw: readonly string[]): PathParameters | undefined {
  if (segments.length !== raw.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const text = raw[index] ?? '';
    if ('literal' in segment) {
      if (segment.literal !== text) return undefined;
    } else {
      if (text === '') return undefined;
      parameters[segment.parameter] = decodeSegment(text);
    }
  }
  return parameters;
}

/** The parameter `name` takes as many segments as are left between what stands before and after it. */
export function matchDecoded({ segments }: PathPattern, raw: readonly string[]): PathParameters | undefined {
  const at = segments.findIndex((segment) => 'parameter' in segment && segment.parameter === GREEDY);
  const extra = raw.length - segments.length;
  if (at === -1 || extra <= 0) return undefined;
  const name = raw.slice(at, at + extra + 1).join('/');
  return matchRaw({ segments }, [...raw.slice(0, at), name, ...raw.slice(at + extra + 1)]);
}

/** More specific first: literals before parameters, from the left; for the decoded form longer suffixes first. */
export function comparePatterns(a: PathPattern, b: PathPattern): number {
  if (a.segments.length !== b.segments.length) return b.segments.length - a.segments.length;
  for (const [index, segment] of a.segments.entries()) {
    const other = b.segments[index];
    const difference = Number(other !== undefined && 'literal' in other) - Number('literal' in segment);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** `quote_plus` undone. */
function decodeSegment(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (cause) {
    throw new WeftError(
      'invalid',
      'ValueError',
      `The path segment '${text.slice(0, 100)}' is not well encoded.`,
      { cause },
    );
  }
}

/** The segments of a request target below the mount prefix; a final slash does not count. */
export function segmentsOf(target: string, prefix: string): string[] {
  const path = target.split('?', 1)[0] ?? '';
  const below = prefix !== '' && path.startsWith(prefix) ? path.slice(prefix.length) : path;
  const segments = below.split('/').slice(1);
  if (segments.length > 1 && segments.at(-1) === '') segments.pop();
  return segments;
}
