import path from 'node:path';
import type { DataFolder } from './data-folder.ts';
import { SITES } from './federation.ts';
import { portsOf } from './ports.ts';

/** The client with which `weft token` and `weft client-config` speak to the embedded issuer. */
export const CLI_CLIENT = 'weft-cli';

/** The public client for people's tools: device flow, and a browser on this machine. */
export const AGENT_CLIENT = 'oidc-agent';

/** Addresses of an instance, as `weft endpoints --json` prints them (DESIGN "The surface"). */
export interface Endpoints {
  readonly datalake: string;
  readonly transfer: string;
  readonly identity: string;
  readonly issuer: string;
  /** Where people of the sites sign in; their accounts there are linked with the first issuer's. */
  readonly site_issuer: string;
  readonly orchestrator: string;
  readonly accounting: string;
  readonly sites: Readonly<Record<string, { storage: string; compute?: string; node?: string; rse: string }>>;
  readonly ca: string;
  readonly ca_dir: string;
}

export function endpointsOf(folder: DataFolder, portBase: number | undefined): Endpoints {
  const ports = portsOf(portBase);
  const local = (port: number) => `https://localhost:${port}`;
  return {
    datalake: local(ports.datalake),
    transfer: local(ports.transfer),
    identity: local(ports.identity),
    issuer: local(ports.issuer),
    site_issuer: local(ports.siteIssuer),
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
