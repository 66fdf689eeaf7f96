import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { getDid } from '../core/catalogue/dids.ts';
import { printId } from '../core/names.ts';
import { printDate } from '../core/records/print.ts';
import { ruleRecord } from '../core/records/rule-record.ts';
import { addRules } from '../core/rules/add-rules.ts';
import { analyseRule, listRuleHistory, listRuleHistoryOfDid } from '../core/rules/analyse.ts';
import { expireRule } from '../core/rules/end-rules.ts';
import { getRule, listLocksOfRule, listRules } from '../core/rules/read-rules.ts';
import { updateRule } from '../core/rules/update-rule.ts';
import { done, json, lines } from './answers.ts';
import { lenientBoolean, parseBody, parseOptionalBody } from './bodies.ts';
import { route } from './router.ts';
import { newRuleOf, newRuleSchema } from './rule-body.ts';
import { ruleFilter } from './rule-filter.ts';

const optionsSchema = z.object({
  options: z.strictObject({
    comment: z.string().max(250).nullable().optional(),
    locked: lenientBoolean.optional(),
    lifetime: z.number().min(0).max(1e11).nullable().optional(),
    activity: z.string().optional(),
    source_replica_expression: z.string().nullable().optional(),
    priority: z.int().optional(),
    purge_replicas: lenientBoolean.optional(),
    meta: z
      .union([z.string(), z.record(z.string(), z.unknown()).transform((value) => JSON.stringify(value))])
      .optional(),
    state: z
      .string()
      .transform((text) => text.toUpperCase())
      .pipe(z.enum(['SUSPENDED', 'STUCK']))
      .optional(),
    boost_rule: lenientBoolean.optional(),
    cancel_requests: lenientBoolean.optional(),
  }),
});

const deletionSchema = z.object({ purge_replicas: lenientBoolean.nullish() });

/** What is wrong with a rule is 409 here, whatever it is elsewhere (brief rucio-daemons 2.1). */
async function asConflict<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (
      error instanceof WeftError &&
      (error.code === 'InvalidRSEExpression' || error.code === 'InvalidObject')
    ) {
      throw new WeftError('conflict', error.code, error.message, { cause: error });
    }
    throw error;
  }
}

/** Brief rucio-daemons 2.1. */
export const ruleRoutes = [
  route('POST', '/rules', async (call) => {
    const { lake, issuer } = call;
    const ids = await asConflict(async () => {
      const body = parseBody(call, newRuleSchema);
      return await lake.database.transaction((tx) =>
        addRules(tx, lake, issuer, newRuleOf(body, body.dids, issuer.account)),
      );
    });
    return json(ids.map(printId), 201);
  }),

  route('GET', '/rules', async ({ lake, query }) => {
    const rules = await listRules(lake.database.sql, ruleFilter(query));
    return lines(rules.map((rule) => ({ ...ruleRecord(rule), bytes: rule.did_bytes })));
  }),

  route('GET', '/rules/:id', async ({ lake, path }) =>
    json(ruleRecord(await getRule(lake.database.sql, path('id')))),
  ),

  route('PUT', '/rules/:id', async (call) => {
    const { lake, issuer, path } = call;
    const { options } = parseBody(call, optionsSchema);
    await lake.database.transaction(async (tx) => {
      const { cancel_requests: _cancel, ...change } = options;
      await updateRule(tx, lake, issuer, await getRule(tx, path('id')), change);
    });
    return done();
  }),

  route('DELETE', '/rules/:id', async (call) => {
    const { lake, issuer, path } = call;
    const { purge_replicas } = parseOptionalBody(call, deletionSchema);
    await lake.database.transaction(async (tx) => {
      await expireRule(tx, lake, issuer, await getRule(tx, path('id')), purge_replicas ?? null);
    });
    return done();
  }),

  route('GET', '/rules/:id/locks', async ({ lake, path }) => {
    const { id } = await getRule(lake.database.sql, path('id'));
    const locks = await listLocksOfRule(lake.database.sql, id);
    return lines(
      locks.map((lock) => ({ ...lock, rse_id: printId(lock.rse_id), rule_id: printId(lock.rule_id) })),
    );
  }),

  route('GET', '/rules/:id/history', async ({ lake, path }) => {
    const rows = await listRuleHistory(lake.database.sql, await getRule(lake.database.sql, path('id')));
    return lines(rows.map((row) => ({ ...row, updated_at: printDate(row.updated_at) })));
  }),

  route('GET', '/rules/:scope/:name/history', async ({ lake, path }) => {
    const did = await getDid(lake.database.sql, { scope: path('scope'), name: path('name') });
    const rows = await listRuleHistoryOfDid(lake.database.sql, did);
    return lines(
      rows.map((row) => ({
        ...row,
        rule_id: printId(row.rule_id),
        created_at: printDate(row.created_at),
        updated_at: printDate(row.updated_at),
      })),
    );
  }),

  route('GET', '/rules/:id/analysis', async ({ lake, path }) => {
    const rule = await getRule(lake.database.sql, path('id'));
    const transfers = await analyseRule(lake.database.sql, rule.id);
    return json({
      rule_error: rule.error,
      transfers: transfers.map((transfer) => ({
        ...transfer,
        rse_id: printId(transfer.rse_id),
        last_time: printDate(transfer.last_time),
      })),
    });
  }),
];
