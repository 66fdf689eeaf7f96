import { createServer } from 'node:net';
import type { ComponentName } from './components.ts';
import type { Endpoints } from './endpoints.ts';

export interface Address {
  readonly component: string;
  readonly host: string;
  readonly port: number;
}

/** Every address on which an instance with these components will listen. */
export function addressesOf(endpoints: Endpoints, components: readonly ComponentName[]): Address[] {
  const at = (component: string, url: string): Address => {
    const { hostname, port } = new URL(url);
    // The embedded default binds IPv4 where it says localhost.
    return { component, host: hostname === 'localhost' ? '127.0.0.1' : hostname, port: Number(port) };
  };
  const has = (name: ComponentName) => components.includes(name);
  const { issuer, site_issuer, identity, datalake, transfer, orchestrator, accounting } = endpoints;
  const sites = Object.values(endpoints.sites);
  return [
    ...(has('identity') ? [at('issuer', issuer), at('issuer', site_issuer), at('identity', identity)] : []),
    ...(has('datalake') ? [at('datalake', datalake)] : []),
    ...(has('transfer') ? [at('transfer', transfer)] : []),
    ...(has('orchestrator') ? [at('orchestrator', orchestrator)] : []),
    ...(has('accounting') ? [at('accounting', accounting)] : []),
    ...(has('storage') ? sites.map(({ storage }) => at('storage', storage)) : []),
    ...(has('compute')
      ? sites.flatMap(({ compute }) => (compute === undefined ? [] : [at('compute', compute)]))
      : []),
  ];
}

/** Those that cannot be bound now, with the system's reason: EADDRINUSE, EADDRNOTAVAIL, EACCES. */
export async function unavailable(
  addresses: readonly Address[],
): Promise<(Address & { readonly reason: string })[]> {
  const reasons = await Promise.all(addresses.map(bindReason));
  return addresses.flatMap((address, index) => {
    const reason = reasons[index];
    return reason === undefined ? [] : [{ ...address, reason }];
  });
}

/** Why `host:port` cannot be bound; `undefined` when it can. */
export function bindReason({ host, port }: { host: string; port: number }): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
