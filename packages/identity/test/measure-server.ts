// The identity component as it runs in production (TLS, access log, an embedded PostgreSQL that syncs), for the benchmarks:
// `node measure-server.ts FOLDER '{"users":500000}'`. Tells its ports; ends with the channel to whoever started it.
import { randomBytes } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { configured, settingsSchema, startComponents } from '@weft/kernel/component';
import { embeddedConnection, openDatabase } from '@weft/kernel/database';
import { ensureAuthority } from '@weft/kernel/pki';
import { createLogger } from '@weft/kernel/telemetry';
import { z } from 'zod';
import { identity } from '../src/index.ts';
import { fillSite } from './measure-fill-site.ts';

/** What the benchmarks know of it; both are public here, and good for nothing else. */
const CLIENT = { id: 'bench', secret: 'a-secret-of-256-bits-for-the-bench' };
const API_KEY = 'abcdefghijklmnopqrstuvwxyzabcdef';

const optionsSchema = z.strictObject({
  /** People at the site `hpc`; see `fillSite`. */
  users: z.int().min(0).default(0),
  /** File of an original ALISE to take links from. */
  aliseDatabase: z.string().optional(),
});

const [folder = '', text = '{}'] = process.argv.slice(2);
const { users, aliseDatabase } = optionsSchema.parse(JSON.parse(text));
// Started by root, the database runs as an account of its own, which needs a way in.
chmodSync(folder, 0o755);
const authority = await ensureAuthority(folder);
await authority.ensureServerCertificate('server', {
  commonName: 'localhost',
  hosts: ['localhost', '127.0.0.1'],
});
const keyFile = path.join(folder, 'secret.key');
writeFileSync(keyFile, randomBytes(32), { mode: 0o600 });
const settings = settingsSchema.parse({
  data_folder: path.join(folder, 'data'),
  database: 'embedded',
  secret_key_file: keyFile,
  tls: { certificate_file: path.join(folder, 'server.pem'), key_file: path.join(folder, 'server.key') },
});
const ports = { issuer: await freePort(), alise: await freePort() };
const config = identity.config.parse({
  listen: { port: ports.issuer },
  url: 'https://issuer.bench',
  clients: [
    {
      ...CLIENT,
      grants: ['client_credentials'],
      allow: [{ audience: 'https://storage.bench', scopes: ['storage.read:/'] }],
    },
  ],
  alise: {
    listen: { port: ports.alise },
    url: 'https://alise.bench',
    sites: [
      {
        name: 'hpc',
        internal: [{ name: 'hpc', issuer: 'https://idp.hpc.bench' }],
        external: [{ name: 'community', issuer: 'https://community.bench' }],
        api_keys: [{ name: 'bench', secret: API_KEY }],
        ...(aliseDatabase === undefined ? {} : { import: { alise_database: aliseDatabase } }),
      },
    ],
  },
});
const running = await startComponents(settings, [configured(identity, config)], 'services');
if (users > 0) {
  const log = createLogger({ name: 'measure', level: 'error' });
  const database = await openDatabase({ connection: await embeddedConnection(settings.data_folder), log });
  await fillSite(database, users);
  await database.close();
}
process.send?.({
  ...ports,
  authority: authority.certificateFile,
  client: CLIENT,
  apiKey: API_KEY,
});
process.on('disconnect', () => void running.stop());

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address !== null
          ? resolve(address.port)
          : reject(new Error('no port')),
      );
    });
  });
}
