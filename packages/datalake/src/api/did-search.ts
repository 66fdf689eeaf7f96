import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { DidFilters } from '../core/catalogue/search.ts';
import { parsePythonLiteral } from './python-literal.ts';

const filtersSchema = z.union([
  z.array(z.record(z.string(), z.unknown())),
  z.record(z.string(), z.unknown()).transform((group) => [group]),
]);

const PARAMETERS = new Set(['type', 'long', 'recursive', 'limit', 'filters']);

/** `filters=[{…}, {…}]` as a Python literal, or loose `key=value` pairs that must all hold (brief rucio-api 2.3). */
export function searchFilters(query: URLSearchParams): DidFilters {
  const text = query.get('filters');
  if (text === null) {
    const loose = Object.fromEntries([...query].filter(([key]) => !PARAMETERS.has(key)));
    return Object.keys(loose).length === 0 ? [] : [loose];
  }
  const parsed = filtersSchema.safeParse(parsePythonLiteral(text));
  if (parsed.success) return parsed.data;
  throw new WeftError('invalid', 'DIDFilterSyntaxError', 'Filters are a list of dictionaries.');
}
