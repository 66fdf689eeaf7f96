import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { requireAdmin } from '../core/accounts/rights.ts';
import { printId } from '../core/names.ts';
import { printDate } from '../core/records/print.ts';
import { pathOfReplica, pfnOf, protocolsFor } from '../core/rses/pfn.ts';
import {
  addRse,
  deleteRse,
  deleteRseAttribute,
  deleteRseLimit,
  listAccountUsageOnRse,
  listRseLimits,
  listRseUsage,
  type RseChange,
  setRseAttribute,
  setRseLimit,
  setRseUsage,
  updateRse,
} from '../core/rses/rses.ts';
import { loadTopology, type Rse } from '../core/rses/topology.ts';
import { booleanWord } from './accounts.ts';
import { created, done, json, lines } from './answers.ts';
import { lenientBoolean, parseBody, parseOptionalBody, queryBoolean } from './bodies.ts';
import { type IssuedCall, route } from './router.ts';
import { protocolRecord } from './rse-protocols.ts';

const settingsSchema = z.object({
  rse_type: z.string().nullish(),
  deterministic: lenientBoolean.nullish(),
  volatile: lenientBoolean.nullish(),
  staging_area: lenientBoolean.nullish(),
  availability_read: lenientBoolean.nullish(),
  availability_write: lenientBoolean.nullish(),
  availability_delete: lenientBoolean.nullish(),
  availability: z.int().min(0).max(7).nullish(),
  city: z.string().nullish(),
  region_code: z.string().nullish(),
  country_name: z.string().nullish(),
  continent: z.string().nullish(),
  time_zone: z.string().nullish(),
  ISP: z.string().nullish(),
  ASN: z.union([z.string(), z.number()]).nullish(),
  latitude: z.number().nullish(),
  longitude: z.number().nullish(),
  qos_class: z.string().nullish(),
});

/** `availability` is 4 for reading, 2 for writing, 1 for deleting. */
function changeOf({ availability, ...given }: z.output<typeof settingsSchema>): RseChange {
  const flags: RseChange =
    availability == null
      ? {}
      : {
          availability_read: (availability & 4) !== 0,
          availability_write: (availability & 2) !== 0,
          availability_delete: (availability & 1) !== 0,
        };
  return { ...flags, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value != null)) };
}

const availabilityOf = (rse: Rse): number =>
  (rse.availability_read ? 4 : 0) + (rse.availability_write ? 2 : 0) + (rse.availability_delete ? 1 : 0);

const attributesOf = (rse: Rse): Record<string, string | boolean> =>
  Object.fromEntries([...rse.ownAttributes].map(([key, value]) => [key, booleanWord(value)]));

function rowOf(rse: Rse): Record<string, unknown> {
  const setting = (key: string) => rse.settings[key] ?? null;
  return {
    id: printId(rse.id),
    rse: rse.rse,
    vo: 'def',
    rse_type: rse.rse_type,
    deterministic: rse.deterministic,
    volatile: rse.volatile,
    staging_area: rse.staging_area,
    availability: availabilityOf(rse),
    availability_read: rse.availability_read,
    availability_write: rse.availability_write,
    availability_delete: rse.availability_delete,
    city: setting('city'),
    region_code: setting('region_code'),
    country_name: setting('country_name'),
    continent: setting('continent'),
    time_zone: setting('time_zone'),
    ISP: setting('ISP'),
    ASN: setting('ASN'),
    latitude: setting('latitude'),
    longitude: setting('longitude'),
    qos_class: setting('qos_class'),
    deleted: false,
    deleted_at: null,
    created_at: printDate(rse.created_at),
    updated_at: printDate(rse.updated_at),
  };
}

/** All keys that the client's RSE manager needs (brief rucio-api 2.5). */
function settingsOf(rse: Rse): Record<string, unknown> {
  const attribute = (key: string) => rse.ownAttributes.get(key);
  return {
    availability: availabilityOf(rse),
    availability_read: rse.availability_read,
    availability_write: rse.availability_write,
    availability_delete: rse.availability_delete,
    credentials: null,
    deterministic: rse.deterministic,
    domain: ['lan', 'wan'],
    id: printId(rse.id),
    lfn2pfn_algorithm: attribute('lfn2pfn_algorithm') ?? 'hash',
    protocols: rse.protocols.map(protocolRecord),
    qos_class: rse.settings.qos_class ?? null,
    rse: rse.rse,
    rse_type: rse.rse_type,
    sign_url: attribute('sign_url') ?? null,
    staging_area: rse.staging_area,
    verify_checksum: attribute('verify_checksum')?.toLowerCase() !== 'false',
    volatile: rse.volatile,
  };
}

const rseOf = async ({ lake, path }: IssuedCall): Promise<Rse> =>
  (await loadTopology(lake.database.sql)).byName(path('rse'));

const attributeSchema = z.object({ value: z.union([z.string(), z.number(), z.boolean()]) });
const limitSchema = z.object({ name: z.string(), value: z.number().int() });
const count = z.number().int().nullish();
const usageSchema = z.object({ source: z.string(), used: count, free: count, files: count });

/** Brief rucio-api 2.5. */
export const rseRoutes = [
  route('GET', '/rses', async ({ lake, query }) => {
    const topology = await loadTopology(lake.database.sql);
    const expression = query.get('expression');
    if (expression === null) return lines(topology.rses.map(rowOf));
    return lines(topology.select(expression).map(({ rse }) => ({ rse })));
  }),

  route('GET', '/rses/:rse', async (call) => json(settingsOf(await rseOf(call)))),

  route('POST', '/rses/:rse', async (call) => {
    requireAdmin(call.issuer, 'add RSEs');
    const change = changeOf(parseOptionalBody(call, settingsSchema));
    await call.lake.database.transaction((tx) => addRse(tx, call.path('rse'), change));
    return created();
  }),

  route('PUT', '/rses/:rse', async (call) => {
    requireAdmin(call.issuer, 'update RSEs');
    const change = changeOf(parseBody(call, settingsSchema.strict()));
    await call.lake.database.transaction((tx) => updateRse(tx, call.path('rse'), change));
    return { ...done(), status: 201 };
  }),

  route('DELETE', '/rses/:rse', async ({ issuer, lake, path }) => {
    requireAdmin(issuer, 'delete RSEs');
    await lake.database.transaction((tx) => deleteRse(tx, path('rse')));
    return done();
  }),

  route('GET', '/rses/:rse/attr', async (call) => json(attributesOf(await rseOf(call)))),

  route('POST', '/rses/:rse/attr/:key', async (call) => {
    requireAdmin(call.issuer, 'set RSE attributes');
    const { value } = parseBody(call, attributeSchema);
    await call.lake.database.transaction((tx) =>
      setRseAttribute(tx, call.path('rse'), call.path('key'), String(value)),
    );
    return created();
  }),

  route('DELETE', '/rses/:rse/attr/:key', async ({ issuer, lake, path }) => {
    requireAdmin(issuer, 'delete RSE attributes');
    await lake.database.transaction((tx) => deleteRseAttribute(tx, path('rse'), path('key')));
    return done();
  }),

  route('GET', '/rses/:rse/limits', async (call) => {
    const rows = await listRseLimits(call.lake.database.sql, (await rseOf(call)).id);
    return json(Object.fromEntries(rows.map(({ name, value }) => [name, value])));
  }),

  route('PUT', '/rses/:rse/limits', async (call) => {
    requireAdmin(call.issuer, 'set RSE limits');
    const { name, value } = parseBody(call, limitSchema);
    await setRseLimit(call.lake.database.sql, (await rseOf(call)).id, name, value);
    return done();
  }),

  route('DELETE', '/rses/:rse/limits', async (call) => {
    requireAdmin(call.issuer, 'delete RSE limits');
    const { name } = parseBody(call, limitSchema.pick({ name: true }));
    await deleteRseLimit(call.lake.database.sql, (await rseOf(call)).id, name);
    return done();
  }),

  route('GET', '/rses/:rse/usage', async (call) => {
    const { sql } = call.lake.database;
    const rse = await rseOf(call);
    const usage = await listRseUsage(sql, rse.id, call.query.get('source') ?? undefined);
    const accounts = queryBoolean(call.query, 'per_account')
      ? await listAccountUsageOnRse(sql, rse.id)
      : undefined;
    return lines(
      usage.map(({ source, used, free, files, updated_at }) => ({
        rse_id: printId(rse.id),
        rse: rse.rse,
        source,
        used,
        free,
        total: used === null || free === null ? used : used + free,
        files,
        updated_at: printDate(updated_at),
        ...(accounts === undefined
          ? {}
          : {
              account_usages: accounts.map(({ account, bytes }) => ({
                account,
                used: bytes,
                percentage: used ? (100 * bytes) / used : 0,
              })),
            }),
      })),
    );
  }),

  route('PUT', '/rses/:rse/usage', async (call) => {
    requireAdmin(call.issuer, 'set RSE usage');
    const { source, used, free, files } = parseBody(call, usageSchema);
    const rse = await rseOf(call);
    await setRseUsage(call.lake.database.sql, rse.id, {
      source,
      used: used ?? null,
      free: free ?? null,
      files: files ?? null,
    });
    return done();
  }),

  route('GET', '/rses/:rse/lfns2pfns', async (call) => {
    const { query } = call;
    const rse = await rseOf(call);
    const domain = query.get('domain') === 'lan' ? 'lan' : 'wan';
    const operation = query.get('operation') ?? 'write';
    if (operation !== 'read' && operation !== 'write' && operation !== 'delete') {
      throw new WeftError(
        'invalid',
        'InvalidObject',
        `'${operation}' is no operation: read, write or delete.`,
      );
    }
    const scheme = query.get('scheme');
    const [protocol] = protocolsFor(rse, `${domain}_${operation}`, scheme ? [scheme] : undefined);
    if (!protocol)
      throw new WeftError(
        'not-found',
        'RSEProtocolNotSupported',
        `RSE '${rse.rse}' offers no ${operation} over ${domain}.`,
      );
    return json(
      Object.fromEntries(
        query.getAll('lfn').map((lfn) => {
          const [scope = '', ...rest] = lfn.split(':');
          const name = rest.join(':');
          if (name === '')
            throw new WeftError('invalid', 'InvalidObject', `'${lfn.slice(0, 100)}' is not scope:name.`);
          return [lfn, pfnOf(protocol, pathOfReplica(rse, { scope, name }, null))];
        }),
      ),
    );
  }),
];
