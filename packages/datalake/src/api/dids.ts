import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { requireAdmin, requireScopeWriter } from '../core/accounts/rights.ts';
import { attach } from '../core/catalogue/attach.ts';
import { emitDidEvents } from '../core/catalogue/did-events.ts';
import { addCollections, getDid, listParents, measureDid, setOpen } from '../core/catalogue/dids.ts';
import { searchDids } from '../core/catalogue/search.ts';
import { didRecord } from '../core/records/did-record.ts';
import { ruleRecord } from '../core/records/rule-record.ts';
import { addRules } from '../core/rules/add-rules.ts';
import { listAssociatedRules, listRules } from '../core/rules/read-rules.ts';
import { created, done, json, lines } from './answers.ts';
import { lenientBoolean, MOST_ITEMS, parseBody, queryBoolean, queryInteger } from './bodies.ts';
import { childSchema, registerChildren } from './did-content.ts';
import { searchFilters } from './did-search.ts';
import { type IssuedCall, route } from './router.ts';
import { inlineRuleSchema, newRuleOf } from './rule-body.ts';

const collectionSchema = z.strictObject({
  scope: z.string().optional(),
  name: z.string().optional(),
  type: z.string(),
  account: z.string().nullish(),
  statuses: z.object({ monotonic: lenientBoolean.optional() }).nullish(),
  meta: z.record(z.string(), z.unknown()).nullish(),
  rules: z.array(inlineRuleSchema).nullish(),
  lifetime: z.number().nullish(),
  dids: z.array(childSchema).max(MOST_ITEMS).nullish(),
  rse: z.string().nullish(),
});

type NewCollectionBody = z.output<typeof collectionSchema> & { scope: string; name: string };

const statusSchema = z.object({ open: lenientBoolean });

/** Registers collections with content and rules, all or nothing. */
async function addDids(call: IssuedCall, bodies: readonly NewCollectionBody[]): Promise<void> {
  const { lake, issuer } = call;
  await lake.database.transaction(async (tx) => {
    await requireScopeWriter(
      tx,
      issuer,
      bodies.map(({ scope }) => scope),
      'add data identifiers',
    );
    const rows = await addCollections(tx, issuer.account, bodies.map(toCollection));
    await emitDidEvents(tx, lake, 'did.created', rows);
    for (const body of bodies) await addContentAndRules(tx, call, body);
  });
}

function toCollection({ scope, name, type, statuses, lifetime, meta }: NewCollectionBody) {
  const wanted = type.toUpperCase();
  if (wanted !== 'DATASET' && wanted !== 'CONTAINER') {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      'Only collection (dataset/container) can be registered.',
    );
  }
  return {
    scope,
    name,
    type: wanted,
    monotonic: statuses?.monotonic ?? false,
    lifetimeSeconds: lifetime ?? null,
    metadata: meta ?? {},
  } as const;
}

async function addContentAndRules(tx: Tx, call: IssuedCall, body: NewCollectionBody): Promise<void> {
  const { lake, issuer } = call;
  const parent = { scope: body.scope, name: body.name };
  if (body.dids?.length) {
    if (body.rse) await registerChildren(tx, lake, issuer, body.rse, body.dids);
    await attach(tx, lake, [{ parent, children: body.dids.map(childOf) }], { ignoreDuplicates: false });
  }
  for (const rule of body.rules ?? [])
    await addRules(tx, lake, issuer, newRuleOf(rule, [parent], issuer.account));
}

const childOf = ({ scope, name, bytes, adler32, md5 }: z.output<typeof childSchema>) => ({
  scope,
  name,
  ...(bytes == null ? {} : { bytes }),
  ...(adler32 == null ? {} : { adler32 }),
  ...(md5 == null ? {} : { md5 }),
});

const depthOf = (query: URLSearchParams): 'DATASET' | 'FILE' | undefined => {
  const depth = query.get('dynamic_depth')?.toUpperCase();
  if (depth === 'DATASET' || depth === 'FILE') return depth;
  return query.has('dynamic') ? 'FILE' : undefined;
};

const didOf = ({ path }: IssuedCall) => ({ scope: path('scope'), name: path('name') });

/** Brief rucio-api 2.3. */
export const didRoutes = [
  route('GET', '/dids/:scope/:name', async (call) => {
    const { sql } = call.lake.database;
    const did = await getDid(sql, didOf(call));
    const depth = depthOf(call.query);
    return json(didRecord(did, depth ? await measureDid(sql, did, depth) : undefined));
  }),

  route('POST', '/dids/:scope/:name', async (call) => {
    await addDids(call, [{ ...parseBody(call, collectionSchema), ...didOf(call) }]);
    return created();
  }),

  route('POST', '/dids', async (call) => {
    const bodies = parseBody(
      call,
      z.array(collectionSchema.required({ scope: true, name: true })).max(MOST_ITEMS),
    );
    await addDids(
      call,
      bodies.map((body) => ({ ...body, scope: body.scope ?? '', name: body.name ?? '' })),
    );
    return created();
  }),

  route('PUT', '/dids/:scope/:name/status', async (call) => {
    const { lake, issuer } = call;
    const { open } = parseBody(call, statusSchema);
    if (open) requireAdmin(issuer, 'open a closed data identifier');
    await lake.database.transaction(async (tx) => {
      const did = didOf(call);
      await requireScopeWriter(tx, issuer, [did.scope], 'set the status of data identifiers');
      const row = await setOpen(tx, did, open);
      if (!open) await emitDidEvents(tx, lake, 'did.closed', [row]);
    });
    return done();
  }),

  route('GET', '/dids/:scope/:name/status', async (call) =>
    json(didRecord(await getDid(call.lake.database.sql, didOf(call)))),
  ),

  route('GET', '/dids/:scope/:name/parents', async (call) => {
    const rows = await listParents(call.lake.database.sql, didOf(call));
    return lines(rows.map(({ scope, name, did_type }) => ({ scope, name, type: did_type })));
  }),

  route('GET', '/dids/:scope/:name/rules', async (call) => {
    const did = await getDid(call.lake.database.sql, didOf(call));
    const rules = await listRules(call.lake.database.sql, { scope: did.scope, name: did.name });
    return lines(rules.map((rule) => ({ ...ruleRecord(rule), bytes: rule.did_bytes })));
  }),

  route('GET', '/dids/:scope/:name/associated_rules', async (call) => {
    const did = await getDid(call.lake.database.sql, didOf(call));
    const rules = await listAssociatedRules(call.lake.database.sql, did.id);
    return lines(rules.map((rule) => ({ ...ruleRecord(rule), bytes: rule.did_bytes })));
  }),

  route('GET', '/dids/:scope/dids/search', ({ lake, path, query }) => {
    const long = queryBoolean(query, 'long');
    const found = searchDids(lake.database, {
      scope: path('scope'),
      filters: searchFilters(query),
      type: query.get('type') ?? 'collection',
      recursive: queryBoolean(query, 'recursive'),
      limit: queryInteger(query, 'limit'),
    });
    return lines(mapped(found, long));
  }),

  route('GET', '/dids/:scope', async ({ lake, path, query }) => {
    const name = query.get('name');
    const filters = name === null ? [] : [{ name }];
    const found = searchDids(lake.database, {
      scope: path('scope'),
      filters,
      type: 'all',
      recursive: queryBoolean(query, 'recursive'),
      limit: null,
    });
    return lines(scopeLines(found));
  }),
];

type FoundDids = ReturnType<typeof searchDids>;

async function* mapped(found: FoundDids, long: boolean): AsyncIterable<unknown> {
  for await (const did of found) {
    yield long
      ? { scope: did.scope, name: did.name, did_type: did.did_type, bytes: did.bytes, length: did.length }
      : did.name;
  }
}

async function* scopeLines(found: FoundDids): AsyncIterable<unknown> {
  for await (const { scope, name, did_type, bytes } of found) {
    yield { scope, name, type: did_type, parent: null, level: 0, bytes };
  }
}
