import type { RequestRow } from '../../db/schema.ts';

/** A request with what is needed to hand it over. */
export interface PlannedRequest extends RequestRow {
  scope: string;
  name: string;
  source_rse_id: string;
  source_url: string;
  dest_url: string;
  submission_id: string;
}

/** Schemes that can be copied into each other (brief rucio-daemons 3.15); every other one only into itself. */
const HTTP_FAMILY = new Set(['davs', 'https', 'http', 'dav', 's3', 's3s', 'srm+https', 'cs3s']);

export function schemesFit(source: string, destination: string): boolean {
  return source === destination || (HTTP_FAMILY.has(source) && HTTP_FAMILY.has(destination));
}
