import type { Endpoints } from './endpoints.ts';

/** Every audience of the instance's components: the default of `weft token`, never a wildcard. */
export function audiencesOf(endpoints: Endpoints): string[] {
  const { datalake, transfer, identity, orchestrator, accounting, sites } = endpoints;
  const siteUrls = Object.values(sites).flatMap(({ storage, compute }) =>
    compute ? [storage, compute] : [storage],
  );
  return [datalake, transfer, identity, orchestrator, accounting, ...siteUrls];
}
