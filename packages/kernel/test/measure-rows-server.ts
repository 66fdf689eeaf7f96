// Streams rows from a PostgreSQL of its own as JSON lines, and tells its memory: for benchmarks/ndjson-growth.
import { sql } from 'kysely';
import { createListener, sendJsonLines } from '../src/http/index.ts';
import { ensureAuthority } from '../src/pki/index.ts';
import { createLogger } from '../src/telemetry/index.ts';
import { startTestDatabase } from '../src/testing/index.ts';

const [folder = ''] = process.argv.slice(2);
const test = await startTestDatabase({ migrate: false });
const authority = await ensureAuthority(folder);
const tls = await authority.ensureServerCertificate('server', {
  commonName: 'localhost',
  hosts: ['127.0.0.1'],
});
await sql`create table replicas as
  select 'drought' as scope, 'file-' || n as name, 1000000 + n as bytes, md5(n::text) as md5, 'A' as state
  from generate_series(1, 1000000) n`.execute(test.database.sql);

const app = createListener({ log: createLogger({ name: 'measure', level: 'silent' }), tls });
app.get('/rows', (_request, reply) =>
  sendJsonLines(reply, test.database.stream(sql`select * from replicas`)),
);
const url = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
process.send?.({ port: Number(url.port) });
const telling = setInterval(() => process.send?.({ residentBytes: process.memoryUsage.rss() }), 100);
process.on('disconnect', async () => {
  clearInterval(telling);
  await app.close();
  await test.stop();
});
