import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Suite } from '../harness/peer.ts';
import { BASE, type Certificates } from './certificates.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');

export interface Service {
  readonly storage: string;
  readonly linking: string;
  stop(): Promise<void>;
}

/** `weft serve identity storage` with listeners that ask for client certificates, and a database of its own. */
export async function startService(suite: Suite, certificates: Certificates): Promise<Service> {
  const base = Number(new URL(suite.instance.endpoints.issuer).port) + 340;
  const at = (offset: number) => ({ host: '127.0.0.1', port: base + offset });
  const url = (offset: number) => `https://localhost:${base + offset}`;
  const folder = path.join(suite.folder, 'service');
  // PostgreSQL has an account of its own, which must be able to pass.
  chmodSync(suite.folder, 0o711);
  mkdirSync(folder, { mode: 0o711 });
  const file = (name: string, content: string | Uint8Array) => {
    const target = path.join(suite.folder, name);
    writeFileSync(target, content, { mode: 0o600 });
    return target;
  };
  const configuration = file(
    'weft.yaml',
    JSON.stringify({
      data_folder: folder,
      database: 'embedded',
      secret_key_file: file('secret.key', randomBytes(32)),
      tls: {
        certificate_file: path.join(suite.instance.data, 'pki', 'server.pem'),
        key_file: path.join(suite.instance.data, 'pki', 'server.key'),
      },
      client_certificates: {
        authorities_folder: certificates.authorities,
        voms_folder: certificates.vomsServers,
        grants: [
          { subject: `${BASE}/CN=Alice`, scopes: ['storage.read:/'], audiences: [url(0)] },
          { group: '/drought', scopes: ['storage.create:/'] },
          { group: '/drought/ops/Role=production', scopes: ['storage.modify:/'] },
          { subject: `${BASE}/CN=Alice`, scopes: ['alise.mapping:hpc'], audiences: [url(2)] },
        ],
      },
      storage: {
        instances: [
          {
            site: 'grid',
            listen: at(0),
            url: url(0),
            client_certificates: true,
            areas: [{ name: 'default', path: '/', root: path.join(suite.folder, 'files') }],
          },
        ],
      },
      identity: {
        listen: at(1),
        url: url(1),
        alise: {
          listen: at(2),
          url: url(2),
          client_certificates: true,
          sites: [
            {
              name: 'hpc',
              links: [
                {
                  username: 'alice01',
                  internal: { issuer: 'https://idp.hpc.example', subject: '7f2c' },
                  external: [{ issuer: 'https://community.example', subject: 'ab12' }],
                },
              ],
            },
          ],
        },
      },
    }),
  );
  const child = spawn(path.join(ROOT, 'weft'), ['serve', 'identity', 'storage', '--config', configuration], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  const isReady = async (address: string) =>
    (
      await suite.tools.run('curl', [
        ...['--silent', '--fail', '--cacert', suite.instance.endpoints.ca, `${address}/.weft/ready`],
      ])
    ).code === 0;
  for (const until = Date.now() + 60_000; !((await isReady(url(0))) && (await isReady(url(2)))); ) {
    if (child.exitCode !== null || Date.now() > until) {
      await stop();
      throw new Error(`weft serve did not start:\n${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { storage: url(0), linking: url(2), stop };
}
