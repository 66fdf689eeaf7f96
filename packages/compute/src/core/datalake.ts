import { WeftError } from '@weft/kernel/errors';
import type { GuardedFetch } from '@weft/kernel/http';
import { z } from 'zod';

/** A file of a DID and where it lies (brief rucio-api, "Replica line"). */
const replicaLineSchema = z.object({
  scope: z.string(),
  name: z.string(),
  bytes: z.number().nullable(),
  adler32: z.string().nullish(),
  pfns: z.record(z.string(), z.object({ rse: z.string(), priority: z.number().default(1) })),
});
export type ReplicaLine = z.output<typeof replicaLineSchema>;

const rseSettingsSchema = z.object({
  protocols: z.array(
    z.object({ hostname: z.string(), scheme: z.string(), port: z.number(), prefix: z.string().default('') }),
  ),
});

export interface DataIdentifier {
  readonly scope: string;
  readonly name: string;
}

export interface RegisteredFile extends DataIdentifier {
  readonly bytes: number;
  readonly adler32: string;
}

const knownFileSchema = z.object({
  name: z.string(),
  bytes: z.number().nullish(),
  adler32: z.string().nullish(),
});
export type KnownFile = z.output<typeof knownFileSchema>;

/** What staging asks of a datalake, over Rucio's REST interface; in the name of the pod's owner. */
export interface Datalake {
  /** The files of a DID with their replicas; nothing for a DID that does not exist. */
  listReplicas(did: DataIdentifier): Promise<ReplicaLine[]>;
  /** The replica of each file at one RSE, ready or not. */
  listReplicasAt(rse: string, dids: readonly DataIdentifier[]): Promise<ReplicaLine[]>;
  /** `undefined` when nobody has said how far they are. */
  distance(from: string, to: string): Promise<number | undefined>;
  /** Base URL of the RSE's WebDAV door with its prefix. */
  webdavOf(rse: string): Promise<URL>;
  /** Size and checksum of those of these names that mean something already. */
  describeFiles(files: readonly DataIdentifier[]): Promise<KnownFile[]>;
  /** Announces files that are being written; the same again is fine, other content under a known name is refused. */
  announceReplicas(rse: string, files: readonly RegisteredFile[]): Promise<void>;
  /** They are there. */
  completeReplicas(rse: string, files: readonly DataIdentifier[]): Promise<void>;
  /** A dataset that exists already is fine. */
  ensureDataset(dataset: DataIdentifier): Promise<void>;
  /** Files that are attached already are fine. */
  attach(dataset: DataIdentifier, files: readonly RegisteredFile[]): Promise<void>;
}

const WEBDAV = ['davs', 'https', 'dav', 'http'];

export function createDatalake(options: {
  url: string;
  fetch: GuardedFetch;
  token: () => Promise<string>;
}): Datalake {
  async function request(method: string, path: string, body?: unknown): Promise<Response> {
    return options.fetch(`${options.url}${path}`, {
      method,
      headers: {
        'x-rucio-auth-token': await options.token(),
        accept: 'application/x-json-stream, application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      // A collection may have many files.
      maximumBytes: 512 * 2 ** 20,
      timeoutMilliseconds: 120_000,
    });
  }

  /** The answer's text, unless it is a refusal other than those that are expected. */
  async function ask(
    method: string,
    path: string,
    body?: unknown,
    expected: readonly number[] = [],
  ): Promise<string> {
    const response = await request(method, path, body);
    const text = await response.text();
    if (response.ok || expected.includes(response.status)) return text;
    throw refusal(`${method} ${path}`, response.status, text);
  }

  const replicas = async (body: unknown) =>
    lines(await ask('POST', '/replicas/list', body)).map((line) => replicaLineSchema.parse(line));

  return {
    listReplicas: (did) => replicas({ dids: [did], schemes: WEBDAV }),
    listReplicasAt: (rse, dids) => replicas({ dids, schemes: WEBDAV, rse_expression: rse, all_states: true }),
    async distance(from, to) {
      const path = `/rses/${encodeURIComponent(from)}/distances/${encodeURIComponent(to)}`;
      const text = await ask('GET', path, undefined, [404]);
      const answer = z.array(z.object({ distance: z.number().nullable() })).safeParse(lines(text).flat());
      return answer.data?.[0]?.distance ?? undefined;
    },
    async webdavOf(rse) {
      const settings = rseSettingsSchema.parse(
        JSON.parse(await ask('GET', `/rses/${encodeURIComponent(rse)}`)),
      );
      const protocol = settings.protocols.find(({ scheme }) => WEBDAV.includes(scheme));
      if (protocol === undefined) {
        throw new WeftError(
          'unsupported',
          'no-webdav',
          `The RSE ${rse} has no WebDAV protocol, so nothing can be staged there.`,
        );
      }
      return webUrl(`${protocol.scheme}://${protocol.hostname}:${protocol.port}${protocol.prefix}`);
    },
    async describeFiles(files) {
      const dids = files.map(({ scope, name }) => ({ scope, name }));
      const text = await ask('POST', '/dids/bulkmeta', { dids, plugin: 'DID_COLUMN' });
      return lines(text).map((line) => knownFileSchema.parse(line));
    },
    async announceReplicas(rse, files) {
      await ask('POST', '/replicas', {
        rse,
        files: files.map((file) => ({ ...file, state: 'C' })),
        ignore_availability: false,
      });
    },
    async completeReplicas(rse, files) {
      await ask('PUT', '/replicas', {
        rse,
        files: files.map(({ scope, name }) => ({ scope, name, state: 'A' })),
      });
    },
    async ensureDataset({ scope, name }) {
      await ask('POST', didPath({ scope, name }), { type: 'DATASET' }, [409]);
    },
    async attach(dataset, files) {
      const path = `${didPath(dataset)}/dids`;
      const text = await ask('POST', path, { dids: files }, [409]);
      if (!text.includes('FileAlreadyExists') && !text.includes('DuplicateContent')) return;
      // Some were attached before we were interrupted: those that are missing one by one.
      const present = new Set(
        lines(await ask('GET', path)).map((line) => z.object({ name: z.string() }).parse(line).name),
      );
      const missing = files.filter(({ name }) => !present.has(name));
      if (missing.length > 0) await ask('POST', path, { dids: missing });
    },
  };
}

/** A replica's name in terms of HTTP: `davs` is WebDAV over TLS. */
export function webUrl(pfn: string): URL {
  return new URL(pfn.replace(/^davs:/, 'https:').replace(/^dav:/, 'http:'));
}

function didPath({ scope, name }: DataIdentifier): string {
  return `/dids/${encodeURIComponent(scope)}/${encodeURIComponent(name)}`;
}

/** Lines of a JSON stream, or the one JSON document that an answer is. */
function lines(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line): unknown => JSON.parse(line));
}

const errorSchema = z.object({ ExceptionClass: z.string(), ExceptionMessage: z.string().default('') });

function refusal(request: string, status: number, text: string): WeftError {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const known = errorSchema.safeParse(body).data;
  const said =
    known === undefined ? text.slice(0, 200) : `${known.ExceptionClass}: ${known.ExceptionMessage}`;
  const message = `The datalake answered ${request} with ${status} ${said}`.trim();
  // What the datalake refuses it will refuse again; what it fails at may work later.
  const again = status >= 500 || status === 429 || status === 401;
  return new WeftError(
    again ? 'upstream' : 'invalid',
    known?.ExceptionClass ?? `datalake-${status}`,
    message,
  );
}
