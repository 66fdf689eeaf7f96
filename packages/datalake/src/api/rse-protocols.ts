import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { requireAdmin } from '../core/accounts/rights.ts';
import type { ProtocolOperation } from '../core/rses/pfn.ts';
import {
  addProtocol,
  deleteProtocol,
  matchesProtocol,
  type ProtocolKey,
  protocolNotSupported,
  updateProtocol,
} from '../core/rses/protocols.ts';
import { loadTopology } from '../core/rses/topology.ts';
import type { ProtocolRow } from '../db/schema.ts';
import { created, done, json } from './answers.ts';
import { parseBody } from './bodies.ts';
import { type IssuedCall, type Route, route } from './router.ts';

const domain = z.record(z.string(), z.unknown());
const domainsSchema = z.record(z.string(), domain);
const protocolSchema = z.object({
  hostname: z.string().default('localhost'),
  port: z.int().min(0).max(65535).default(0),
  prefix: z.string().default(''),
  impl: z.string(),
  domains: domainsSchema.nullish(),
  extended_attributes: z.record(z.string(), z.unknown()).nullish(),
});
const changeSchema = z.object({
  prefix: z.string().optional(),
  impl: z.string().optional(),
  domains: domainsSchema.nullish(),
});

const OPERATIONS = {
  lan: { read: 'lan_read', write: 'lan_write', delete: 'lan_delete' },
  wan: {
    read: 'wan_read',
    write: 'wan_write',
    delete: 'wan_delete',
    third_party_copy_read: 'third_party_copy_read',
    third_party_copy_write: 'third_party_copy_write',
  },
} as const satisfies Record<string, Record<string, ProtocolOperation>>;

type Priorities = Partial<Record<ProtocolOperation, number | null>>;

/** `{ wan: { read: 1, … }, lan: { … } }` flattened; every priority is a whole number of at least 0, or null. */
function prioritiesOf(domains: z.output<typeof domainsSchema> | null | undefined): Priorities {
  const priorities: Priorities = {};
  for (const [name, operations] of Object.entries(domains ?? {})) {
    if (name !== 'lan' && name !== 'wan') {
      throw new WeftError(
        'not-found',
        'RSEProtocolDomainNotSupported',
        `'${name}' is no domain: lan or wan.`,
      );
    }
    const known: Readonly<Record<string, ProtocolOperation>> = OPERATIONS[name];
    for (const [operation, priority] of Object.entries(operations)) {
      const column = Object.hasOwn(known, operation) ? known[operation] : undefined;
      if (column === undefined) continue;
      priorities[column] = checkPriority(operation, priority);
    }
  }
  return priorities;
}

function checkPriority(operation: string, priority: unknown): number | null {
  if (priority === null || priority === 0) return null;
  if (typeof priority === 'number' && Number.isInteger(priority) && priority > 0) return priority;
  throw new WeftError(
    'conflict',
    'RSEProtocolPriorityError',
    `The priority of ${operation} is a whole number of at least 0, or null.`,
  );
}

/** A protocol as every answer shows it. */
export function protocolRecord(protocol: ProtocolRow): Record<string, unknown> {
  const { hostname, scheme, port, prefix, impl, extended_attributes } = protocol;
  const domains = Object.fromEntries(
    Object.entries(OPERATIONS).map(([name, operations]) => [
      name,
      Object.fromEntries(
        Object.entries(operations).map(([operation, column]) => [operation, protocol[column]]),
      ),
    ]),
  );
  return { hostname, scheme, port, prefix, impl, domains, extended_attributes };
}

function keyOf({ path }: IssuedCall): ProtocolKey {
  const [hostname, port] = [path('hostname'), path('port')];
  return {
    scheme: path('scheme'),
    ...(hostname === '' ? {} : { hostname }),
    ...(port === '' ? {} : { port: Number(port) }),
  };
}

const change = async (call: IssuedCall) => {
  requireAdmin(call.issuer, 'update RSE protocols');
  const { prefix, impl, domains } = parseBody(call, changeSchema);
  await call.lake.database.transaction((tx) =>
    updateProtocol(tx, call.path('rse'), keyOf(call), {
      priorities: prioritiesOf(domains),
      ...(prefix === undefined ? {} : { prefix }),
      ...(impl === undefined ? {} : { impl }),
    }),
  );
  return done();
};

const remove = async (call: IssuedCall) => {
  requireAdmin(call.issuer, 'delete RSE protocols');
  await call.lake.database.transaction((tx) => deleteProtocol(tx, call.path('rse'), keyOf(call)));
  return done();
};

const ONE = '/rses/:rse/protocols/:scheme';

/** Brief rucio-api 2.5, protocols. */
export const protocolRoutes: Route[] = [
  route('GET', '/rses/:rse/protocols', async ({ lake, path }) => {
    const rse = (await loadTopology(lake.database.sql)).byName(path('rse'));
    if (rse.protocols.length === 0) throw protocolNotSupported(rse.rse);
    return json(rse.protocols.map(protocolRecord));
  }),

  route('GET', ONE, async (call) => {
    const rse = (await loadTopology(call.lake.database.sql)).byName(call.path('rse'));
    const found = rse.protocols.filter(matchesProtocol(keyOf(call)));
    if (found.length === 0) throw protocolNotSupported(rse.rse, call.path('scheme'));
    return json(found.map(protocolRecord));
  }),

  route('POST', ONE, async (call) => {
    requireAdmin(call.issuer, 'add RSE protocols');
    const { hostname, port, prefix, impl, domains, extended_attributes } = parseBody(call, protocolSchema);
    await call.lake.database.transaction((tx) =>
      addProtocol(tx, call.path('rse'), {
        scheme: call.path('scheme'),
        hostname,
        port,
        prefix,
        impl,
        priorities: prioritiesOf(domains),
        extendedAttributes: extended_attributes ?? null,
      }),
    );
    return created();
  }),

  ...[ONE, `${ONE}/:hostname`, `${ONE}/:hostname/:port`].flatMap((path) => [
    route('PUT', path, change),
    route('DELETE', path, remove),
  ]),
];
