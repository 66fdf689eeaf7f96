import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { Suite } from '../harness/peer.ts';

/** Every row of every table of the running instance as text. */
export async function dumpDatabase({ instance, tools }: Suite): Promise<string> {
  const { host } = z
    .object({ host: z.string() })
    .parse(JSON.parse(readFileSync(path.join(instance.data, 'run', 'postgres.json'), 'utf8')));
  const password = readFileSync(path.join(instance.data, 'secrets', 'postgres.secret'), 'utf8').trim();
  const psql = async (query: string) =>
    (
      await tools.succeed(
        'psql',
        ['--no-psqlrc', '--tuples-only', '--no-align', '--host', host, '--command', query],
        {
          env: { PGUSER: 'weft', PGDATABASE: 'weft', PGPASSWORD: password },
        },
      )
    ).stdout;
  const tables = await psql(`select format('%I.%I', nspname, relname) from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    where relkind = 'r' and nspname not like 'pg\\_%' and nspname <> 'information_schema'`);
  let dump = '';
  for (const table of tables.trim().split('\n')) dump += await psql(`copy (table ${table}) to stdout`);
  return dump;
}
