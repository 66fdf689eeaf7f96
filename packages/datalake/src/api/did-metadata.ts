import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { requireScopeWriter } from '../core/accounts/rights.ts';
import { findDids, getDid } from '../core/catalogue/dids.ts';
import { deleteMetadata, type MetadataChange, setMetadata } from '../core/catalogue/metadata.ts';
import { metadataRecord } from '../core/records/metadata-record.ts';
import { created, done, json, lines } from './answers.ts';
import { didListSchema, didNameSchema, lenientBoolean, MOST_ITEMS, parseBody } from './bodies.ts';
import { type IssuedCall, route } from './router.ts';

const values = z.record(z.string(), z.unknown());
const metaSchema = z.object({ meta: values, recursive: lenientBoolean.default(false) });
const valueSchema = z.object({ value: z.unknown(), recursive: lenientBoolean.default(false) });
const bulkSchema = z.object({ dids: z.array(didNameSchema.extend({ meta: values })).max(MOST_ITEMS) });
const bulkReadSchema = z.object({
  dids: didListSchema,
  inherit: lenientBoolean.nullish(),
  plugin: z.string().nullish(),
});

const didOf = ({ path }: IssuedCall) => ({ scope: path('scope'), name: path('name') });

async function change(
  { lake, issuer }: IssuedCall,
  changes: readonly MetadataChange[],
  recursive: boolean,
): Promise<void> {
  await lake.database.transaction(async (tx) => {
    await requireScopeWriter(
      tx,
      issuer,
      changes.map(({ did }) => did.scope),
      'set metadata of data identifiers',
    );
    await setMetadata(tx, changes, recursive);
  });
}

/** Brief rucio-api 2.3 and 3.4. */
export const metadataRoutes = [
  route('GET', '/dids/:scope/:name/meta', async (call) => {
    const did = await getDid(call.lake.database.sql, didOf(call));
    return json(metadataRecord(did, call.query.get('plugin') ?? 'DID_COLUMN'));
  }),

  route('POST', '/dids/:scope/:name/meta', async (call) => {
    const { meta, recursive } = parseBody(call, metaSchema);
    await change(call, [{ did: didOf(call), metadata: meta }], recursive);
    return created();
  }),

  route('POST', '/dids/:scope/:name/meta/:key', async (call) => {
    const { value, recursive } = parseBody(call, valueSchema);
    await change(call, [{ did: didOf(call), metadata: { [call.path('key')]: value ?? null } }], recursive);
    return created();
  }),

  route('DELETE', '/dids/:scope/:name/meta', async (call) => {
    const { lake, issuer, query } = call;
    const key = query.get('key');
    if (key === null) throw new WeftError('invalid', 'KeyError', "'key' not defined");
    await lake.database.transaction(async (tx) => {
      await requireScopeWriter(tx, issuer, [didOf(call).scope], 'delete metadata of data identifiers');
      await deleteMetadata(tx, await getDid(tx, didOf(call)), key);
    });
    return done();
  }),

  route('POST', '/dids/bulkmeta', async (call) => {
    const { dids, plugin } = parseBody(call, bulkReadSchema);
    const rows = await findDids(call.lake.database.sql, dids);
    return lines(
      rows.map((did) => ({
        scope: did.scope,
        name: did.name,
        ...metadataRecord(did, plugin ?? 'DID_COLUMN'),
      })),
    );
  }),

  route('POST', '/dids/bulkdidsmeta', async (call) => {
    const { dids } = parseBody(call, bulkSchema);
    await change(
      call,
      dids.map(({ scope, name, meta }) => ({ did: { scope, name }, metadata: meta })),
      false,
    );
    return created();
  }),
];
