import type { Database } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { type RawBuilder, sql } from 'kysely';
import type { DidRow, DidType } from '../../db/schema.ts';

/** Alternatives (OR) of conditions that must all hold (AND); keys may carry an operator: `run_number.gte`. */
export type DidFilters = readonly Readonly<Record<string, unknown>>[];

export interface DidSearch {
  scope: string;
  filters: DidFilters;
  /** Unless a group of conditions has a `type` of its own. */
  type: string;
  recursive: boolean;
  limit: number | null;
}

const OPERATORS = { gte: '>=', lte: '<=', gt: '>', lt: '<', ne: '<>' } as const;
type Operator = keyof typeof OPERATORS | 'eq';

const TYPES: Readonly<Record<string, readonly DidType[]>> = {
  all: ['FILE', 'DATASET', 'CONTAINER'],
  collection: ['DATASET', 'CONTAINER'],
  dataset: ['DATASET'],
  container: ['CONTAINER'],
  file: ['FILE'],
};

/** Columns that can be searched; any other key is looked up in the metadata. */
const COLUMNS: Readonly<Record<string, 'text' | 'number' | 'date' | 'boolean'>> = {
  name: 'text',
  account: 'text',
  adler32: 'text',
  md5: 'text',
  availability: 'text',
  bytes: 'number',
  length: 'number',
  created_at: 'date',
  updated_at: 'date',
  expired_at: 'date',
  closed_at: 'date',
  is_open: 'boolean',
  monotonic: 'boolean',
  hidden: 'boolean',
};

/**
 * DIDs of a scope by name and metadata, in one query over columns and free keys alike (brief rucio-api 3.3), by name.
 *
 * @throws {WeftError} `UnsupportedOperation` (type), `DIDFilterSyntaxError`, `DuplicateCriteriaInDIDFilter`.
 */
export function searchDids(database: Database, search: DidSearch): AsyncIterable<DidRow> {
  const groups = search.filters.length === 0 ? [{}] : search.filters;
  const matches = sql.join(
    groups.map((group) => groupCondition(group, search.type)),
    sql` or `,
  );
  const found = sql`
    select d.* from datalake.dids d
    where d.scope = ${search.scope} and not d.suppressed and not d.hidden and (${matches})`;
  if (!search.recursive) return database.stream<DidRow>(sql`${found} order by d.name limit ${search.limit}`);
  return database.stream<DidRow>(sql`
    with recursive found as (${found}),
    below (id) as (
      select id from found union select c.child_id from below b join datalake.contents c on c.parent_id = b.id)
    select d.* from datalake.dids d join below using (id) order by d.scope, d.name limit ${search.limit}`);
}

function groupCondition(group: Readonly<Record<string, unknown>>, defaultType: string): RawBuilder<unknown> {
  const seen = new Set<string>();
  let type = defaultType;
  const conditions: RawBuilder<unknown>[] = [];
  for (const [criterion, value] of Object.entries(group)) {
    if (criterion === 'type') {
      type = String(value);
      continue;
    }
    const { key, operator } = splitCriterion(criterion);
    if (seen.has(`${key} ${operator}`)) {
      throw new WeftError(
        'invalid',
        'DuplicateCriteriaInDIDFilter',
        `The criterion '${criterion}' stands twice in one filter.`,
      );
    }
    seen.add(`${key} ${operator}`);
    conditions.push(condition(key, operator, value));
  }
  const types = TYPES[type.toLowerCase()];
  if (!types) {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      `Valid type are: ${Object.keys(TYPES).join(', ')}`,
    );
  }
  return sql`(${sql.join([sql`d.did_type = any(${[...types]}::text[])`, ...conditions], sql` and `)})`;
}

function splitCriterion(criterion: string): { key: string; operator: Operator } {
  if (criterion === 'created_after') return { key: 'created_at', operator: 'gte' };
  if (criterion === 'created_before') return { key: 'created_at', operator: 'lte' };
  const [key = '', suffix, ...rest] = criterion.split('.');
  if (!/^[A-Za-z0-9_\-:/]{1,255}$/.test(key) || rest.length > 0) throw syntaxError(criterion);
  if (suffix === undefined) return { key, operator: 'eq' };
  if (!isOperator(suffix)) throw syntaxError(criterion);
  return { key, operator: suffix };
}

const isOperator = (text: string): text is keyof typeof OPERATORS => Object.hasOwn(OPERATORS, text);

function syntaxError(criterion: string): WeftError {
  return new WeftError(
    'invalid',
    'DIDFilterSyntaxError',
    `'${criterion.slice(0, 100)}' is no criterion of a DID filter.`,
  );
}

function condition(key: string, operator: Operator, value: unknown): RawBuilder<unknown> {
  const column = Object.hasOwn(COLUMNS, key) ? COLUMNS[key] : undefined;
  const left = column ? sql`d.${sql.ref(key)}` : sql`d.metadata ->> ${key}`;
  const comparison = sql.raw(operator === 'eq' ? '=' : OPERATORS[operator]);
  const text = String(value);
  if (typeof value === 'string' && /[*%]/.test(value)) {
    if (operator !== 'eq' && operator !== 'ne') {
      throw new WeftError('invalid', 'DIDFilterSyntaxError', `Wildcards need equality: '${key}'.`);
    }
    const pattern = text.replace(/[\\_]/g, '\\$&').replaceAll('*', '%');
    return operator === 'eq' ? sql`${left} like ${pattern}` : sql`${left} not like ${pattern}`;
  }
  if (key === 'name' && operator !== 'eq' && operator !== 'ne') throw syntaxError(`name.${operator}`);
  if (column === 'date') return sql`${left} ${comparison} ${parseDate(text)}::timestamptz`;
  if (column === 'number') return sql`${left} ${comparison} ${parseNumber(key, text)}::numeric`;
  if (column === 'boolean') return sql`${left} ${comparison} ${text.toLowerCase() === 'true'}`;
  if (column === 'text') return sql`${left} ${comparison} ${text}`;
  if (operator === 'eq' || operator === 'ne') return metadataEquality(key, operator, value);
  if (text.trim() !== '' && !Number.isNaN(Number(text))) {
    return sql`case when ${left} ~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$' then (${left})::numeric end ${comparison} ${text}::numeric`;
  }
  return sql`${left} ${comparison} ${text}`;
}

/** Equality finds the value in either JSON type, through the index on the metadata. */
function metadataEquality(key: string, operator: 'eq' | 'ne', value: unknown): RawBuilder<unknown> {
  const text = String(value);
  const forms: unknown[] = [text];
  if (/^(true|false)$/i.test(text)) forms.push(text.toLowerCase() === 'true', text.toLowerCase());
  else if (text.trim() !== '' && !Number.isNaN(Number(text))) forms.push(Number(text));
  const any = sql.join(
    forms.map((form) => sql`d.metadata @> ${JSON.stringify({ [key]: form })}::jsonb`),
    sql` or `,
  );
  return operator === 'eq' ? sql`(${any})` : sql`(d.metadata ? ${key} and not (${any}))`;
}

function parseDate(text: string): Date {
  const iso = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d/.test(text)
    ? `${text.replace(' ', 'T').replace(/Z?$/, 'Z')}`
    : text;
  const date = new Date(iso.replace(/ UTC$/, ' GMT'));
  if (Number.isNaN(date.getTime()))
    throw new WeftError('invalid', 'DIDFilterSyntaxError', `'${text.slice(0, 64)}' is no date.`);
  return date;
}

function parseNumber(key: string, text: string): number {
  const number = Number(text);
  if (text.trim() === '' || Number.isNaN(number) || (key === 'length' && !Number.isInteger(number))) {
    throw new WeftError('invalid', 'DIDFilterSyntaxError', `${key} needs a number.`);
  }
  return number;
}
