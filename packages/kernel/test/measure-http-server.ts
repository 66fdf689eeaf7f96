// One of two servers with the same handler, for benchmarks/http-vs-fastify: `node measure-http-server.ts ours|fastify`.
// Prints its port; the certificate authority lies in the folder that the second argument names.
import { type FastifyInstance, fastify } from 'fastify';
import { createListener } from '../src/http/index.ts';
import { ensureAuthority } from '../src/pki/index.ts';
import { createLogger } from '../src/telemetry/index.ts';

const [kind, folder = ''] = process.argv.slice(2);
const authority = await ensureAuthority(folder);
const tls = await authority.ensureServerCertificate('server', {
  commonName: 'localhost',
  hosts: ['127.0.0.1'],
});

/** A JSON document of 1 kB. */
const document = {
  scope: 'drought',
  name: 'climdiv-pdsidv-2010-12',
  bytes: 1_000_000,
  adler32: '0cc737eb',
  states: Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`SITE-${index}-DISK`, 'AVAILABLE'])),
};

const app: FastifyInstance =
  kind === 'ours'
    ? createListener({ log: createLogger({ name: 'measure' }), tls })
    : fastify({ https: { cert: tls.certificate, key: tls.key } });
app.get('/document', async () => document);
const url = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
process.send?.({ port: Number(url.port), bytes: JSON.stringify(document).length });
