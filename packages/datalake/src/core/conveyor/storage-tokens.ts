import type { Lake } from '../lake.ts';
import type { FileTokens } from './job-document.ts';
import type { PlannedRequest } from './transfer-request.ts';

/**
 * Tokens for the two ends of a submission: the source may be read, the destination created, replaced and read back, each at
 * the paths of the files and nowhere else. A few files share a token, so that none grows beyond what servers take as a
 * header. Transfers between anything but web storages go without.
 */
export async function mintStorageTokens(
  lake: Lake,
  requests: readonly PlannedRequest[],
): Promise<Map<string, FileTokens>> {
  const tokens = new Map<string, FileTokens>();
  const chunks: PlannedRequest[][] = [];
  const size = lake.config.transfer?.paths_per_token ?? 1;
  for (const group of Map.groupBy(requests.filter(needsTokens), storagesOf).values()) {
    for (let start = 0; start < group.length; start += size) chunks.push(group.slice(start, start + size));
  }
  await Promise.all(
    chunks.map(async (chunk) => {
      const [source, destination] = await Promise.all([
        ownToken(
          lake,
          chunk.map(({ source_url }) => source_url),
          ['read'],
        ),
        ownToken(
          lake,
          chunk.map(({ dest_url }) => dest_url),
          ['modify', 'create', 'read'],
        ),
      ]);
      for (const { id } of chunk) tokens.set(id, { source, destination });
    }),
  );
  return tokens;
}

const WEB = new Set(['davs:', 'https:', 'dav:', 'http:']);

const needsTokens = ({ source_url, dest_url }: PlannedRequest): boolean =>
  WEB.has(new URL(source_url).protocol) && WEB.has(new URL(dest_url).protocol);

const storagesOf = ({ source_url, dest_url }: PlannedRequest): string =>
  `${new URL(source_url).host} ${new URL(dest_url).host}`;

type PathAction = 'read' | 'create' | 'modify';

/** A token of the datalake itself for paths of one storage. */
export async function ownToken(
  lake: Lake,
  urls: readonly string[],
  actions: readonly PathAction[],
): Promise<string> {
  const [first] = urls;
  if (first === undefined) throw new RangeError('a storage token needs a path');
  return await lake.tokens.own({
    audience: audienceOfStorage(first, lake.config.storage_audience),
    scopes: urls.flatMap((url) =>
      actions.map((action) => `storage.${action}:${decodeURI(new URL(url).pathname)}`),
    ),
  });
}

/** `davs://127.0.0.12:8082/rucio/x` → `https://127.0.0.12:8082`, or the bare host as upstream has it. */
function audienceOfStorage(url: string, kind: 'origin' | 'host'): string {
  const { protocol, host, hostname } = new URL(url);
  if (kind === 'host') return hostname;
  return `${protocol === 'davs:' || protocol === 'https:' ? 'https' : 'http'}://${host}`;
}
