import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { Issuer } from '../core/accounts/issuer.ts';
import { requireScopeWriter } from '../core/accounts/rights.ts';
import { type Attachment, attach, detach } from '../core/catalogue/attach.ts';
import { findDids, getDid } from '../core/catalogue/dids.ts';
import { listContent, listContentHistory, listFiles } from '../core/catalogue/list-files.ts';
import type { Lake } from '../core/lake.ts';
import { printDate } from '../core/records/print.ts';
import { registerReplicas } from '../core/replicas/register.ts';
import { loadTopology } from '../core/rses/topology.ts';
import { created, done, lines } from './answers.ts';
import {
  adler32Schema,
  bytesSchema,
  didListSchema,
  lenientBoolean,
  MOST_ITEMS,
  md5Schema,
  parseBody,
  queryBoolean,
} from './bodies.ts';
import { replicaMetadata, replicaState } from './replica-body.ts';
import { type IssuedCall, route } from './router.ts';

export const childSchema = z.object({
  scope: z.string(),
  name: z.string(),
  bytes: bytesSchema.nullish(),
  adler32: adler32Schema.nullish(),
  md5: md5Schema.nullish(),
  pfn: z.string().nullish(),
  state: z.string().nullish(),
  meta: z.record(z.string(), z.unknown()).nullish(),
});

type ChildBody = z.output<typeof childSchema>;

const attachSchema = z.object({ dids: z.array(childSchema).max(MOST_ITEMS), rse: z.string().nullish() });
const attachmentSchema = attachSchema.extend({ scope: z.string(), name: z.string() });
const attachmentsSchema = z.union([
  z.array(attachmentSchema).transform((attachments) => ({ attachments, ignore_duplicate: false })),
  z.object({ attachments: z.array(attachmentSchema), ignore_duplicate: lenientBoolean.default(false) }),
]);

/** With an RSE the files are first registered there. */
export async function registerChildren(
  tx: Tx,
  lake: Lake,
  issuer: Issuer,
  rse: string,
  children: readonly ChildBody[],
): Promise<void> {
  const files = children.map((child) => {
    if (child.bytes == null)
      throw new WeftError(
        'invalid',
        'InvalidObject',
        `Problem validating dids: ${child.scope}:${child.name} needs bytes.`,
      );
    return {
      scope: child.scope,
      name: child.name,
      bytes: child.bytes,
      adler32: child.adler32 ?? null,
      md5: child.md5 ?? null,
      pfn: child.pfn ?? null,
      state: replicaState(child.state ?? 'A'),
      ...replicaMetadata(child.meta),
    };
  });
  const topology = await loadTopology(tx);
  await registerReplicas(tx, lake, issuer, topology.byName(rse), files, { ignoreAvailability: false });
}

async function attachAll(
  call: IssuedCall,
  bodies: readonly z.output<typeof attachmentSchema>[],
  ignoreDuplicates: boolean,
): Promise<void> {
  const { lake, issuer } = call;
  await lake.database.transaction(async (tx) => {
    await requireScopeWriter(
      tx,
      issuer,
      bodies.map(({ scope }) => scope),
      'attach data identifiers',
    );
    for (const { rse, dids } of bodies) {
      if (!rse) continue;
      await requireScopeWriter(
        tx,
        issuer,
        dids.map(({ scope }) => scope),
        'add replicas',
      );
      await registerChildren(tx, lake, issuer, rse, dids);
    }
    await attach(tx, lake, bodies.map(toAttachment), { ignoreDuplicates });
  });
}

function toAttachment({
  scope,
  name,
  dids,
}: {
  scope: string;
  name: string;
  dids: readonly ChildBody[];
}): Attachment {
  return {
    parent: { scope, name },
    children: dids.map((child) => ({
      scope: child.scope,
      name: child.name,
      ...(child.bytes == null ? {} : { bytes: child.bytes }),
      ...(child.adler32 == null ? {} : { adler32: child.adler32 }),
      ...(child.md5 == null ? {} : { md5: child.md5 }),
    })),
  };
}

const didOf = ({ path }: IssuedCall) => ({ scope: path('scope'), name: path('name') });

/** Brief rucio-api 2.3, content of collections. */
export const contentRoutes = [
  route('GET', '/dids/:scope/:name/dids', async (call) => {
    const { database } = call.lake;
    return lines(contentLines(listContent(database, await getDid(database.sql, didOf(call)))));
  }),

  route('POST', '/dids/:scope/:name/dids', async (call) => {
    await attachAll(call, [{ ...parseBody(call, attachSchema), ...didOf(call) }], false);
    return created();
  }),

  route('DELETE', '/dids/:scope/:name/dids', async (call) => {
    const { lake, issuer } = call;
    const { dids } = parseBody(call, z.object({ dids: didListSchema }));
    await lake.database.transaction(async (tx) => {
      const parent = didOf(call);
      await requireScopeWriter(tx, issuer, [parent.scope], 'detach data identifiers');
      await detach(tx, lake, { parent, children: dids });
    });
    return done();
  }),

  route('POST', '/dids/attachments', async (call) => {
    const { attachments, ignore_duplicate } = parseBody(call, attachmentsSchema);
    await attachAll(call, attachments, ignore_duplicate);
    return created();
  }),

  route('GET', '/dids/:scope/:name/dids/history', async (call) => {
    const { sql } = call.lake.database;
    const rows = await listContentHistory(sql, await getDid(sql, didOf(call)));
    return lines(
      rows.map(({ did_type, created_at, deleted_at, ...line }) => ({
        ...line,
        type: did_type,
        deleted_at: printDate(deleted_at),
        created_at: printDate(created_at),
        updated_at: printDate(deleted_at),
      })),
    );
  }),

  route('GET', '/dids/:scope/:name/files', async (call) => {
    const { database } = call.lake;
    const did = await getDid(database.sql, didOf(call));
    return lines(fileLines(listFiles(database, did), queryBoolean(call.query, 'long')));
  }),

  route('POST', '/dids/bulkfiles', async (call) => {
    const { dids } = parseBody(call, z.object({ dids: didListSchema }));
    const { database } = call.lake;
    const parents = await findDids(database.sql, dids);
    return lines(bulkFileLines(call.lake, parents));
  }),
];

async function* contentLines(rows: ReturnType<typeof listContent>): AsyncIterable<unknown> {
  for await (const { did_type, ...line } of rows) yield { ...line, type: did_type };
}

async function* fileLines(
  rows: ReturnType<typeof listFiles>,
  long: boolean,
): AsyncIterable<Record<string, unknown>> {
  for await (const { guid, ...file } of rows) {
    yield {
      ...file,
      guid: guid?.replaceAll('-', '').toUpperCase() ?? null,
      events: null,
      ...(long ? { lumiblocknr: null } : {}),
    };
  }
}

async function* bulkFileLines(
  lake: Lake,
  parents: Awaited<ReturnType<typeof findDids>>,
): AsyncIterable<unknown> {
  for (const parent of parents) {
    for await (const file of fileLines(listFiles(lake.database, parent), false)) {
      yield { parent_scope: parent.scope, parent_name: parent.name, ...file };
    }
  }
}
