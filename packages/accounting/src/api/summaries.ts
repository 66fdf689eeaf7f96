import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { DIMENSIONS } from '../client.ts';
import type { Ledger } from '../core/ledger.ts';
import { querySummaries } from '../core/query-summaries.ts';
import { type Callers, seesAll } from './caller.ts';
import { parseQuery } from './parse-query.ts';

const month = z.string().regex(/^(19|20)\d{2}-(0[1-9]|1[0-2])$/, 'not a month such as 2026-11');
const summaryQuery = z.strictObject({
  group_by: z
    .string()
    .default('site,vo,user,month')
    .transform((text) => text.split(',').filter((name) => name !== ''))
    .pipe(z.array(z.enum(DIMENSIONS))),
  from: month.optional(),
  to: month.optional(),
  site: z.string().max(255).optional(),
  vo: z.string().max(255).optional(),
  user: z.string().max(255).optional(),
  format: z.enum(['json', 'csv']).default('json'),
});

/** The numbers of the accounting portal (brief accounting 2.8) with one query: dimensions, filters, JSON or CSV. */
export function registerSummaryRoutes(app: FastifyInstance, ledger: Ledger, callers: Callers): void {
  app.get('/accounting/v1/summaries', async (request, reply) => {
    const principal = await callers.reader(request);
    const query = parseQuery(summaryQuery, request);
    const onlyUser = seesAll(ledger.config, principal) ? undefined : principal.subject;
    if (onlyUser !== undefined && query.user !== undefined && query.user !== onlyUser) {
      throw new WeftError(
        'forbidden',
        'other_user',
        'You may ask for your own usage, or for sums without a user.',
      );
    }
    const { group_by: groupBy, format, from, to, site, vo, user } = query;
    const answer = await querySummaries(ledger.database, { groupBy, from, to, site, vo, user, onlyUser });
    if (format === 'json') return answer;
    return reply.type('text/csv; charset=utf-8').send(printCsv(answer.results));
  });
}

function printCsv(rows: readonly object[]): string {
  const [first] = rows;
  if (first === undefined) return '';
  const cell = (value: unknown) => {
    // A spreadsheet runs what begins with these; a leading quote makes it text.
    const text = String(value ?? '').replace(/^(?=[=+@\t\r])/, "'");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [Object.keys(first), ...rows.map(Object.values)]
    .map((line) => `${line.map(cell).join(',')}\n`)
    .join('');
}
