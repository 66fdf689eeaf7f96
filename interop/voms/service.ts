import path from 'node:path';
import type { Suite } from '../harness/peer.ts';
import { serveWeft } from '../harness/serve.ts';
import { BASE, type Certificates } from './certificates.ts';

export interface Service {
  readonly storage: string;
  readonly linking: string;
  stop(): Promise<void>;
}

/** `weft serve identity storage` with listeners that ask for client certificates. */
export async function startService(suite: Suite, certificates: Certificates): Promise<Service> {
  const base = Number(new URL(suite.instance.endpoints.issuer).port) + 340;
  const at = (offset: number) => ({ host: '127.0.0.1', port: base + offset });
  const url = (offset: number) => `https://localhost:${base + offset}`;
  const configuration = {
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
  };
  const { stop } = await serveWeft(suite, ['identity', 'storage'], configuration, [url(0), url(2)]);
  return { storage: url(0), linking: url(2), stop };
}
