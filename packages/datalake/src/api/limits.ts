import { z } from 'zod';
import {
  deleteGlobalLimit,
  deleteLocalLimit,
  globalLimits,
  globalUsage,
  localLimits,
  localUsage,
  setGlobalLimit,
  setLocalLimit,
} from '../core/accounts/limits.ts';
import { requireAdmin, requireSelfOrAdmin } from '../core/accounts/rights.ts';
import { printId } from '../core/names.ts';
import { loadTopology } from '../core/rses/topology.ts';
import { created, done, json, lines } from './answers.ts';
import { parseBody } from './bodies.ts';
import { type IssuedCall, type Route, route } from './router.ts';

/** -1 or `inf`: unlimited. */
const limitBody = z.object({
  bytes: z.union([z.number().int().min(-1), z.literal(['inf', 'infinity', 'Infinity']).transform(() => -1)]),
});

const readLocal = async ({ lake, path }: IssuedCall) => {
  const limits = await localLimits(lake.database.sql, path('account'));
  const rse = path('rse');
  if (rse !== '') (await loadTopology(lake.database.sql)).byName(rse);
  return json(
    Object.fromEntries(
      limits.filter((limit) => rse === '' || limit.rse === rse).map((limit) => [limit.rse, limit.bytes]),
    ),
  );
};

const writeLocal = async (call: IssuedCall) => {
  requireAdmin(call.issuer, 'set account limits');
  const rse = (await loadTopology(call.lake.database.sql)).byName(call.path('rse'));
  await setLocalLimit(call.lake.database.sql, call.path('account'), rse.id, parseBody(call, limitBody).bytes);
  return created();
};

const removeLocal = async ({ issuer, lake, path }: IssuedCall) => {
  requireAdmin(issuer, 'delete account limits');
  const rse = (await loadTopology(lake.database.sql)).byName(path('rse'));
  await deleteLocalLimit(lake.database.sql, path('account'), rse.id);
  return done();
};

const readGlobal = async ({ lake, path }: IssuedCall) => {
  const topology = await loadTopology(lake.database.sql);
  const limits = await globalLimits(lake.database.sql, path('account'));
  const expression = path('expression');
  if (expression !== '') {
    return json(
      Object.fromEntries(
        limits
          .filter((limit) => limit.rse_expression === expression)
          .map((limit) => [expression, limit.bytes]),
      ),
    );
  }
  return json(
    Object.fromEntries(
      limits.map(({ rse_expression, bytes }) => {
        const rses = topology.select(rse_expression);
        return [
          rse_expression,
          {
            resolved_rses: rses.map(({ rse }) => rse),
            resolved_rse_ids: rses.map(({ id }) => printId(id)),
            limit: bytes,
          },
        ];
      }),
    ),
  );
};

const writeGlobal = async (call: IssuedCall) => {
  requireAdmin(call.issuer, 'set account limits');
  (await loadTopology(call.lake.database.sql)).select(call.path('expression'));
  await setGlobalLimit(
    call.lake.database.sql,
    call.path('account'),
    call.path('expression'),
    parseBody(call, limitBody).bytes,
  );
  return created();
};

const removeGlobal = async ({ issuer, lake, path }: IssuedCall) => {
  requireAdmin(issuer, 'delete account limits');
  await deleteGlobalLimit(lake.database.sql, path('account'), path('expression'));
  return done();
};

const usageLocal = async ({ issuer, lake, path }: IssuedCall) => {
  requireSelfOrAdmin(issuer, path('account'), 'see the usage of this account');
  const usage = await localUsage(lake.database.sql, path('account'));
  const rse = path('rse');
  if (rse !== '') (await loadTopology(lake.database.sql)).byName(rse);
  return lines(
    usage
      .filter((row) => rse === '' || row.rse === rse)
      .map((row) => ({ ...row, rse_id: printId(row.rse_id) })),
  );
};

const usageGlobal = async ({ issuer, lake, path }: IssuedCall) => {
  requireSelfOrAdmin(issuer, path('account'), 'see the usage of this account');
  const usage = await globalUsage(lake.database.sql, await loadTopology(lake.database.sql), path('account'));
  const expression = path('expression');
  return lines(usage.filter((row) => expression === '' || row.rse_expression === expression));
};

/** Brief rucio-api 2.2; the paths without `local` and those under `/accountlimits` are of older clients. */
export const limitRoutes: Route[] = [
  route('GET', '/accounts/:account/limits', readLocal),
  route('GET', '/accounts/:account/limits/local', readLocal),
  route('GET', '/accounts/:account/limits/local/:rse', readLocal),
  route('GET', '/accounts/:account/limits/global', readGlobal),
  route('GET', '/accounts/:account/limits/global/:expression', readGlobal),
  route('GET', '/accounts/:account/limits/:rse', readLocal),
  ...[
    '/accounts/:account/limits/local/:rse',
    '/accountlimits/local/:account/:rse',
    '/accountlimits/:account/:rse',
  ].flatMap((path) => [route('POST', path, writeLocal), route('DELETE', path, removeLocal)]),
  ...['/accounts/:account/limits/global/:expression', '/accountlimits/global/:account/:expression'].flatMap(
    (path) => [route('POST', path, writeGlobal), route('DELETE', path, removeGlobal)],
  ),
  route('GET', '/accounts/:account/usage', usageLocal),
  route('GET', '/accounts/:account/usage/local', usageLocal),
  route('GET', '/accounts/:account/usage/local/:rse', usageLocal),
  route('GET', '/accounts/:account/usage/global', usageGlobal),
  route('GET', '/accounts/:account/usage/global/:expression', usageGlobal),
  route('GET', '/accounts/:account/usage/:rse', usageLocal),
];
