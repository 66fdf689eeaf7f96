import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { ensureAuthority } from '@weft/kernel/pki';
import { exportJWK, generateKeyPair } from 'jose';
import { COMPONENT_NAMES, type ComponentName } from './components.ts';
import { type DataFolder, ensureSecretFile, randomSecret, writePrivateFile } from './data-folder.ts';
import { SITES } from './federation.ts';
import { type Ports, portsOf } from './ports.ts';
import { sectionsOf } from './sections.ts';

/** One process that the supervisor runs: `node main.ts serve …`. */
export interface ProcessPlan {
  readonly name: string;
  readonly arguments: readonly string[];
}

export interface EmbeddedInstance {
  readonly portBase: number | undefined;
  readonly components: readonly ComponentName[];
  readonly processes: readonly ProcessPlan[];
}

/** Addresses of an instance, as `weft endpoints --json` prints them (DESIGN "The surface"). */
export interface Endpoints {
  readonly datalake: string;
  readonly transfer: string;
  readonly identity: string;
  readonly issuer: string;
  readonly orchestrator: string;
  readonly accounting: string;
  readonly sites: Readonly<Record<string, { storage: string; compute?: string; node?: string; rse: string }>>;
  readonly ca: string;
  readonly ca_dir: string;
}

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
const SIGNING_IN = ['user-alice', 'user-admin'];

export const CLI_CLIENT = 'weft-cli';

export function endpointsOf(folder: DataFolder, portBase: number | undefined): Endpoints {
  const ports = portsOf(portBase);
  const local = (port: number) => `https://localhost:${port}`;
  return {
    datalake: local(ports.datalake),
    transfer: local(ports.transfer),
    identity: local(ports.identity),
    issuer: local(ports.issuer),
    orchestrator: local(ports.orchestrator),
    accounting: local(ports.accounting),
    sites: Object.fromEntries(
      SITES.map((site) => [
        site.name,
        {
          storage: `https://${site.host}:${ports.storage(site.index)}`,
          rse: site.rse,
          ...(site.compute
            ? { compute: `https://${site.host}:${ports.interlink(site.index)}`, node: site.compute.node }
            : {}),
        },
      ]),
    ),
    ca: path.join(folder.pki, 'ca.pem'),
    ca_dir: path.join(folder.pki, 'certificates'),
  };
}

/** Everything that a section may need to know about the instance. */
export interface Surroundings {
  readonly folder: DataFolder;
  readonly ports: Ports;
  readonly endpoints: Endpoints;
  /** `sub` of a user of the embedded issuer: a UUID that is this instance's own. */
  subjectOf(username: string): string;
  secretFileOf(client: string): string;
  readonly cliKey: Record<string, unknown>;
}

/**
 * Makes what the embedded default needs in the data folder (authority, certificate, secrets, folders of the sites) and
 * writes the configuration that the processes read. Running it again changes nothing that is already there.
 */
export async function prepareEmbedded(
  folder: DataFolder,
  options: {
    portBase: number | undefined;
    components: readonly ComponentName[];
    logLevel: string;
    socketFolder: string;
  },
): Promise<EmbeddedInstance> {
  const authority = await ensureAuthority(folder.pki);
  const hosts = ['localhost', '127.0.0.1', '::1', ...new Set(SITES.map(({ host }) => host))];
  await authority.ensureServerCertificate('server', { commonName: 'localhost', hosts: [...new Set(hosts)] });
  ensureSecretFile(path.join(folder.secrets, 'secret.key'), () => randomBytes(32));
  for (const name of [...CLIENT_NAMES, ...SIGNING_IN]) ensureSecretFile(secretFile(folder, name), randomSecret);
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
    issuers: [{ issuer: endpoints.issuer }],
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
  return {
    portBase: options.portBase,
    components: options.components,
    processes: planProcesses(folder, options.components),
  };
}

/**
 * One process for all APIs and daemons, one for each storage (no file byte passes through `services`), one mover for the
 * data path of transfer (DESIGN "Processes").
 */
function planProcesses(folder: DataFolder, components: readonly ComponentName[]): ProcessPlan[] {
  const entry = path.join(import.meta.dirname, 'main.ts');
  const plan = (name: string, names: readonly string[], ...more: string[]): ProcessPlan => ({
    name,
    arguments: [entry, 'serve', ...names, '--config', folder.configuration, ...more],
  });
  const services = components.filter((name) => name !== 'storage');
  return [
    ...(services.length > 0 ? [plan('services', services)] : []),
    ...(components.includes('storage')
      ? SITES.map(({ name }) => plan(`storage-${name}`, ['storage'], '--site', name))
      : []),
    ...(components.includes('transfer') ? [plan('mover', ['transfer'], '--role', 'mover')] : []),
  ];
}

function originsOf(endpoints: Endpoints): string[] {
  const { datalake, transfer, identity, issuer, orchestrator, accounting, sites } = endpoints;
  const siteOrigins = Object.values(sites).flatMap(({ storage, compute }) =>
    compute ? [storage, compute] : [storage],
  );
  return [datalake, transfer, identity, issuer, orchestrator, accounting, ...siteOrigins];
}

function secretFile(folder: DataFolder, client: string): string {
  return path.join(folder.secrets, `${client}.secret`);
}

/** The key with which `weft token` signs its assertions; the issuer is given the public half. */
async function ensureCliKey(folder: DataFolder): Promise<Record<string, unknown>> {
  const file = path.join(folder.secrets, `${CLI_CLIENT}.jwk`);
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const fresh = JSON.stringify({ ...(await exportJWK(privateKey)), alg: 'ES256', kid: CLI_CLIENT });
  const stored: Record<string, unknown> = JSON.parse(ensureSecretFile(file, () => fresh).toString('utf8'));
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

export const ALL_COMPONENTS: readonly ComponentName[] = COMPONENT_NAMES;
