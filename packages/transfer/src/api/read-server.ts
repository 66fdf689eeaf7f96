import type { ComponentContext } from '@weft/kernel/component';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import type { TransferConfig } from '../config.ts';
import { requireTransfer } from '../core/caller.ts';
import type { TransferTables } from '../db/schema.ts';
import { callerOfRequest } from './callers.ts';

/** What the server says about itself and its settings (brief fts 2.3, 2.7 to 2.9): the parts that clients read. */
export function serverRoutes(app: FastifyInstance, context: ComponentContext<TransferConfig>): void {
  const { database } = context;
  const tables = database.withTables<TransferTables>();

  // Only certificates are delegated; with a token the client does not even ask.
  app.all('/delegation/*', async () => {
    throw new WeftError('forbidden', 'certificate-required', 'Certificate required');
  });

  app.get('/status/hosts', async () => {
    const { rows } = await sql<{ host: string; active: number }>`
      select m.host, count(f.file_id) filter (where f.file_state = 'ACTIVE') as active
      from transfer.movers m left join transfer.files f using (mover_id) group by m.host
    `.execute(database.sql);
    return Object.fromEntries(rows.map(({ host, active }) => [host, { staging: 0, active }]));
  });

  app.get('/config/se', async (request) => {
    requireTransfer(await callerOfRequest(context, request));
    const rows = await tables.selectFrom('transfer.storages').selectAll().orderBy('storage').execute();
    return Object.fromEntries(
      rows.map((row) => [
        row.storage,
        {
          se_info: {
            inbound_max_active: row.inbound_max_active,
            inbound_max_throughput: null,
            outbound_max_active: row.outbound_max_active,
            outbound_max_throughput: null,
            udt: null,
            ipv6: null,
            se_metadata: null,
            site: null,
            debug_level: null,
            skip_eviction: null,
            tpc_support: row.tpc_support ?? 'FULL',
            overwrite_disk_enabled: null,
          },
        },
      ]),
    );
  });

  app.get('/config/links', async (request) => {
    requireTransfer(await callerOfRequest(context, request));
    const rows = await tables.selectFrom('transfer.links').selectAll().orderBy('symbolic_name').execute();
    return rows.map((row) => ({
      symbolicname: row.symbolic_name,
      source: row.source,
      destination: row.destination,
      min_active: row.min_active,
      max_active: row.max_active,
      optimizer_mode: 0,
      tcp_buffer_size: 0,
      nostreams: 0,
      no_delegation: false,
    }));
  });

  // Nothing can be banned yet, so nothing is.
  app.get('/ban/se', async (request) => {
    requireTransfer(await callerOfRequest(context, request));
    return [];
  });
  app.get('/ban/dn', async (request) => {
    requireTransfer(await callerOfRequest(context, request));
    return [];
  });
}
