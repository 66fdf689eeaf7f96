import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { ensureCertificates } from './certificates.ts';
import { type DataFolder, ensureSecretFile, randomSecret, writePrivateFile } from './data-folder.ts';
import { CLI_CLIENT, type Endpoints, endpointsOf } from './endpoints.ts';
import { SITES } from './federation.ts';
import { portsOf } from './ports.ts';
import { LINKING_CLIENT, sectionsOf } from './sections.ts';
import type { Surroundings } from './surroundings.ts';

/** Component to client identifier; secrets lie in `<data>/secrets/<client>.secret`. */
export const CLIENT_NAMES = [
  'datalake',
  'orchestrator',
  'compute',
  'storage',
  'transfer',
  'accounting',
] as const;
/** Users with a password for the issuer's pages, in `<data>/secrets/user-<name>.secret`. */
const SIGNING_IN = ['user-alice', 'user-admin', 'user-alice01'];

/**
 * Makes what the embedded default needs in the data folder (authority, certificate, secrets, folders of the sites) and
 * writes the configuration that the processes read. Running it again changes nothing that is already there.
 */
export async function prepareEmbedded(
  folder: DataFolder,
  options: {
    portBase: number | undefined;
    logLevel: string;
    socketFolder: string;
  },
): Promise<void> {
  const hosts = [...new Set(['localhost', hostname(), '127.0.0.1', '::1', ...SITES.map(({ host }) => host)])];
  await ensureCertificates(folder.pki, [...new Set(hosts)]);
  ensureSecretFile(path.join(folder.secrets, 'secret.key'), () => randomBytes(32));
  for (const name of [...CLIENT_NAMES, LINKING_CLIENT, ...SIGNING_IN])
    ensureSecretFile(secretFile(folder, name), randomSecret);
  const seed = ensureSecretFile(path.join(folder.secrets, 'instance.id'), () =>
    randomBytes(16).toString('hex'),
  );
  const cliKey = await ensureCliKey(folder);
  for (const { name } of SITES) mkdirSync(folder.site(name), { recursive: true, mode: 0o711 });

  const endpoints = endpointsOf(folder, options.portBase);
  const surroundings: Surroundings = {
    folder,
    ports: portsOf(options.portBase),
    endpoints,
    subjectOf: (username) => uuidOf(`${seed.toString('utf8')}/${username}`),
    secretFileOf: (client) => secretFile(folder, client),
    cliKey,
  };
  const configuration = {
    data_folder: folder.root,
    database: {
      socket_folder: options.socketFolder,
      user: 'weft',
      database: 'weft',
      password_file: path.join(folder.secrets, 'postgres.secret'),
    },
    issuers: [{ issuer: endpoints.issuer }, { issuer: endpoints.site_issuer }],
    credentials: Object.fromEntries(
      CLIENT_NAMES.map((client) => [
        client,
        { issuer: endpoints.issuer, client_id: client, client_secret_file: secretFile(folder, client) },
      ]),
    ),
    secret_key_file: path.join(folder.secrets, 'secret.key'),
    tls: {
      certificate_file: path.join(folder.pki, 'server.pem'),
      key_file: path.join(folder.pki, 'server.key'),
    },
    outgoing: { allow_origins: originsOf(endpoints), certificate_authorities: [endpoints.ca] },
    log: { level: options.logLevel },
    ...sectionsOf(surroundings),
  };
  writePrivateFile(folder.configuration, `${JSON.stringify(configuration, null, 2)}\n`);
}

function originsOf(endpoints: Endpoints): string[] {
  const { datalake, transfer, identity, issuer, site_issuer, orchestrator, accounting, sites } = endpoints;
  const siteOrigins = Object.values(sites).flatMap(({ storage, compute }) =>
    compute ? [storage, compute] : [storage],
  );
  return [datalake, transfer, identity, issuer, site_issuer, orchestrator, accounting, ...siteOrigins];
}

function secretFile(folder: DataFolder, client: string): string {
  return path.join(folder.secrets, `${client}.secret`);
}

/** The key with which `weft token` signs its assertions; the issuer is given the public half. */
async function ensureCliKey(folder: DataFolder): Promise<Record<string, unknown>> {
  const file = path.join(folder.secrets, `${CLI_CLIENT}.jwk`);
  if (!existsSync(file)) {
    const { exportJWK, generateKeyPair } = await import('jose');
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    writePrivateFile(
      file,
      JSON.stringify({ ...(await exportJWK(privateKey)), alg: 'ES256', kid: CLI_CLIENT }),
    );
  }
  const stored: Record<string, unknown> = JSON.parse(readFileSync(file, 'utf8'));
  const { d: _private, ...publicKey } = stored;
  return publicKey;
}

/** A version 8 UUID (RFC 9562: custom) from the SHA-256 of `text`. */
function uuidOf(text: string): string {
  const hash = createHash('sha256').update(text).digest().subarray(0, 16);
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x80;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
