import { printId } from '../names.ts';
import type { Topology } from '../rses/topology.ts';
import type { Submission } from './claim.ts';
import type { PlannedRequest } from './transfer-request.ts';

/** Tokens of one file: what its source and its destination will accept. */
export interface FileTokens {
  source: string;
  destination: string;
}

/**
 * The job document as an FTS3 server takes it at `POST /jobs` (brief rucio-daemons 2.4). Its id is deterministic: the
 * server refuses a second job with the same `sid`.
 */
export function jobDocument(
  submission: Submission,
  topology: Topology,
  tokensOf: (request: PlannedRequest) => FileTokens | undefined,
): Record<string, unknown> {
  const [first] = submission.requests;
  const destination = topology.byId(first?.rse_id ?? '');
  return {
    files: submission.requests.map((request) => fileEntry(request, topology, tokensOf(request))),
    params: {
      account: first?.account ?? '',
      verify_checksum: verifyChecksum(submission.requests, topology),
      copy_pin_lifetime: -1,
      bring_online: null,
      job_metadata: { issuer: 'rucio', multi_sources: false, overwrite_when_only_on_disk: false },
      overwrite:
        destination?.rse_type !== 'TAPE' || destination.attributes.get('overwrite')?.toLowerCase() === 'true',
      overwrite_when_only_on_disk: false,
      priority: first?.priority ?? 3,
      s3alternate: true,
      id_generator: 'deterministic',
      sid: printId(submission.id),
    },
  };
}

function fileEntry(
  request: PlannedRequest,
  topology: Topology,
  tokens: FileTokens | undefined,
): Record<string, unknown> {
  const source = topology.byId(request.source_rse_id);
  const destination = topology.byId(request.rse_id);
  const checksum = request.adler32
    ? `ADLER32:${request.adler32}`
    : request.md5
      ? `MD5:${request.md5}`
      : undefined;
  return {
    sources: [request.source_url],
    destinations: [request.dest_url],
    filesize: request.bytes,
    ...(checksum === undefined ? {} : { checksum }),
    selection_strategy: 'orderly',
    activity: request.activity,
    metadata: {
      request_id: printId(request.id),
      scope: request.scope,
      name: request.name,
      activity: request.activity,
      request_type: request.request_type.toLowerCase(),
      src_type: source?.rse_type ?? 'DISK',
      dst_type: destination?.rse_type ?? 'DISK',
      src_rse: source?.rse ?? null,
      dst_rse: destination?.rse ?? null,
      src_rse_id: printId(request.source_rse_id),
      dest_rse_id: printId(request.rse_id),
      filesize: request.bytes,
      md5: request.md5,
      adler32: request.adler32,
    },
    ...(tokens === undefined
      ? {}
      : { source_tokens: [tokens.source], destination_tokens: [tokens.destination] }),
  };
}

/** Both ends, unless one of them cannot (RSE attribute `verify_checksum`) or the catalogue knows no checksum. */
function verifyChecksum(
  requests: readonly PlannedRequest[],
  topology: Topology,
): 'both' | 'source' | 'target' | 'none' {
  if (requests.some(({ adler32, md5 }) => adler32 === null && md5 === null)) return 'none';
  const verifies = (id: string | undefined) =>
    topology
      .byId(id ?? '')
      ?.attributes.get('verify_checksum')
      ?.toLowerCase() !== 'false';
  const [first] = requests;
  const [source, destination] = [verifies(first?.source_rse_id), verifies(first?.rse_id)];
  if (source && destination) return 'both';
  if (source) return 'source';
  return destination ? 'target' : 'none';
}
