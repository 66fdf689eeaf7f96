import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Suite } from '../harness/peer.ts';
import { createPerson } from '../harness/person.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');

/** Addresses of what the checks drive. */
export interface Addresses {
  /** Our account linking. */
  readonly linking: string;
  /** Our issuer in the same process, for the site's services. */
  readonly issuer: string;
  /** oidc-provider as the site's own provider. */
  readonly siteProvider: string;
  /** oidc-provider as the community. */
  readonly community: string;
}

export interface Running {
  stop(): Promise<void>;
}

/** How long a person may take in these runs: the last check waits until it is over. */
export const SIGN_IN_SECONDS = 60;

/** Two providers of the certified library in a process of their own. */
export async function startProviders(suite: Suite, addresses: Addresses, secret: string): Promise<Running> {
  const { certificate, key } = tlsOf(suite);
  const program = path.join(import.meta.dirname, 'providers.ts');
  const args = [
    certificate,
    key,
    `${addresses.linking}/callback`,
    addresses.siteProvider,
    addresses.community,
  ];
  return startUntil(process.execPath, [program, ...args], secret, async (said) => said.includes('ready'));
}

/** `weft serve identity` with sites whose people come from providers that are not ours, and a database of its own. */
export async function startLinkingService(
  suite: Suite,
  addresses: Addresses,
  secret: string,
): Promise<Running> {
  const { certificate, key } = tlsOf(suite);
  const folder = mkdtempSync(path.join(suite.folder, 'service-'));
  // PostgreSQL has an account of its own, which must be able to pass.
  chmodSync(suite.folder, 0o711);
  chmodSync(folder, 0o711);
  const file = (name: string, content: string | Uint8Array) => {
    const at = path.join(folder, name);
    writeFileSync(at, content, { mode: 0o600 });
    return at;
  };
  const secretFile = file('linking.secret', secret);
  const login = { client_id: 'linking', client_secret_file: secretFile };
  const site = (name: string) => ({
    name,
    internal: [{ name, title: 'The computing centre', issuer: addresses.siteProvider, ...login }],
    external: [
      {
        name: 'community',
        title: 'The community',
        issuer: addresses.community,
        required_assurance: ['https://refeds.org/assurance/ID/unique'],
        ...login,
      },
    ],
    api_keys: [{ name: 'teapot', secret: `${secret}-${name}` }],
  });
  const port = (url: string) => ({ host: '127.0.0.1', port: Number(new URL(url).port) });
  const configuration = file(
    'weft.yaml',
    JSON.stringify({
      data_folder: folder,
      database: 'embedded',
      issuers: [{ issuer: addresses.issuer }],
      secret_key_file: file('secret.key', crypto.getRandomValues(new Uint8Array(32))),
      tls: { certificate_file: certificate, key_file: key },
      outgoing: {
        allow_origins: Object.values(addresses),
        certificate_authorities: [suite.instance.endpoints.ca],
      },
      identity: {
        listen: port(addresses.issuer),
        url: addresses.issuer,
        clients: [
          {
            id: 'operator',
            secret_file: secretFile,
            grants: ['client_credentials'],
            allow: [{ audience: addresses.linking, scopes: ['alise.admin:hpc', 'alise.mapping:hpc'] }],
          },
        ],
        alise: {
          listen: port(addresses.linking),
          url: addresses.linking,
          sign_in_seconds: SIGN_IN_SECONDS,
          sites: [site('hpc'), site('cloud')],
        },
      },
    }),
  );
  return serve(suite, 'identity', configuration, addresses.linking);
}

export function tlsOf({ instance }: Suite) {
  return {
    certificate: path.join(instance.data, 'pki', 'server.pem'),
    key: path.join(instance.data, 'pki', 'server.key'),
  };
}

/** `weft serve`, until it answers at `url`. */
export function serve(suite: Suite, component: string, configuration: string, url: string): Promise<Running> {
  const visitor = createPerson({ ca: readFileSync(suite.instance.endpoints.ca), origins: [] });
  return startUntil(
    path.join(ROOT, 'weft'),
    ['serve', component, '--config', configuration],
    '',
    async () => {
      const seen = await visitor.get(`${url}/.weft/ready`).catch(() => undefined);
      return seen?.status === 200;
    },
  );
}

/** Starts a program and waits until `ready` says so. */
async function startUntil(
  command: string,
  args: readonly string[],
  input: string,
  ready: (said: string) => Promise<boolean>,
): Promise<Running> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  const listen = (chunk: Buffer) => {
    said += chunk.toString();
  };
  child.stdout.on('data', listen);
  child.stderr.on('data', listen);
  child.on('error', (error) => listen(Buffer.from(error.message)));
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  child.stdin.end(input);
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  for (const until = Date.now() + 180_000; !(await ready(said)); ) {
    if (child.exitCode !== null || Date.now() > until) {
      await stop();
      throw new Error(`${command} ${args[0]} did not start:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { stop };
}
