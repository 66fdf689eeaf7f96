import type { ComponentName } from './components.ts';
import type { Endpoints } from './endpoints.ts';

/** The table of addresses that `up` and `endpoints` show. */
export function printEndpoints(endpoints: Endpoints, components: readonly ComponentName[]): void {
  const rows: [string, string][] = [];
  const has = (name: ComponentName) => components.includes(name);
  if (has('identity'))
    rows.push(
      ['issuer', endpoints.issuer],
      ['issuer of site accounts', endpoints.site_issuer],
      ['account linking', endpoints.identity],
    );
  if (has('datalake')) rows.push(['datalake', endpoints.datalake]);
  if (has('transfer')) rows.push(['transfer', endpoints.transfer]);
  if (has('orchestrator')) rows.push(['orchestrator', endpoints.orchestrator]);
  if (has('accounting')) rows.push(['accounting', endpoints.accounting]);
  for (const [name, site] of Object.entries(endpoints.sites)) {
    if (has('storage')) rows.push([`${name}: storage`, site.storage]);
    if (has('compute') && site.compute !== undefined) rows.push([`${name}: compute`, site.compute]);
  }
  rows.push(['certificate authority', endpoints.ca]);
  const width = Math.max(...rows.map(([label]) => label.length));
  for (const [label, value] of rows) process.stdout.write(`${label.padEnd(width)}  ${value}\n`);
}
