import { WeftError } from '@weft/kernel/errors';
import { parseId } from '../core/names.ts';
import type { RuleFilter } from '../core/rules/read-rules.ts';

/** Filters use the letters of upstream's enumerations, answers the names (brief rucio-daemons 8.4). */
const LETTERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  state: { I: 'INJECT', R: 'REPLICATING', O: 'OK', S: 'STUCK', U: 'SUSPENDED', W: 'WAITING_APPROVAL' },
  did_type: { F: 'FILE', D: 'DATASET', C: 'CONTAINER' },
  grouping: { A: 'ALL', D: 'DATASET', N: 'NONE' },
};

const TEXTS = ['scope', 'name', 'account', 'rse_expression', 'activity'] as const;
const DATES = ['created_before', 'created_after', 'updated_before', 'updated_after'] as const;

/** @throws {WeftError} `invalid`, code `InputValidationError`: a key that is no column of a rule. */
export function ruleFilter(query: URLSearchParams): RuleFilter {
  const filter: RuleFilter = {};
  for (const [key, value] of query) {
    const text = TEXTS.find((name) => name === key);
    const date = DATES.find((name) => name === key);
    if (text) filter[text] = value;
    else if (date) filter[date] = parseDate(key, value);
    else if (key === 'state' || key === 'did_type' || key === 'grouping')
      filter[key] = LETTERS[key]?.[value] ?? value;
    else if (key === 'copies') filter.copies = Number(value);
    else if (key === 'id' || key === 'subscription_id')
      filter[key] = parseId(value) ?? '00000000-0000-0000-0000-000000000000';
    else
      throw new WeftError('invalid', 'InputValidationError', `'${key.slice(0, 64)}' is no filter of rules.`);
  }
  return filter;
}

function parseDate(key: string, value: string): Date {
  const date = new Date(value.replace(/ UTC$/, ' GMT'));
  if (Number.isNaN(date.getTime()))
    throw new WeftError('invalid', 'InputValidationError', `${key} is no date.`);
  return date;
}
