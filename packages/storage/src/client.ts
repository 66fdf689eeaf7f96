/** Client of a WebDAV storage with HTTP third-party copy: this one, or any other of the field (brief teapot 2). */
import { z } from 'zod';
import {
  copyAnswer,
  type RunningTransfer,
  type RunningWorker,
  type Whoami,
  whoamiAnswer,
  workerAnswer,
} from './service-answers.ts';

export type { RunningTransfer, RunningWorker, Whoami } from './service-answers.ts';

/** `fetch`, as far as this client uses it. */
export type Fetch = (
  url: string,
  init: {
    method: string;
    headers: Record<string, string>;
    body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
    signal?: AbortSignal;
    redirect?: 'follow' | 'manual' | 'error';
    timeoutMilliseconds?: number;
    maximumBytes?: number;
  },
) => Promise<Response>;

export interface StorageClientOptions {
  /** Of the storage, without a trailing slash: `https://127.0.0.11:8081`. Paths of the calls are appended, encoded. */
  url: string;
  fetch: Fetch;
  /** An access token for this storage whose scopes cover the paths. */
  token: () => Promise<string>;
}

/** What is known about one file or collection. */
export interface StoredFile {
  /** Decoded, absolute: `/rucio/a b`. */
  readonly path: string;
  readonly collection: boolean;
  readonly sizeBytes: number;
  readonly modified: Date | undefined;
  /** Eight lower-case hex digits, when the storage knows it. */
  readonly adler32: string | undefined;
  readonly etag: string | undefined;
}

export interface PutOptions {
  /** Of a stream; a string or bytes have their own. */
  sizeBytes?: number;
  /** Verified by the storage: a mismatch stores nothing. */
  adler32?: string;
  /** False: fail (412) when the file exists. Default true. */
  overwrite?: boolean;
  signal?: AbortSignal;
}

export interface GetOptions {
  /** First and last byte, both included. */
  range?: readonly [number, number];
  signal?: AbortSignal;
}

export interface PullOptions {
  /** What the storage says to the source: a token for it. */
  sourceToken?: string;
  overwrite?: boolean;
  /** Fail when the source tells no checksum. Default true. */
  requireChecksum?: boolean;
  /** Called with the bytes that have come, every few seconds. */
  onProgress?: (bytes: number) => void;
  signal?: AbortSignal;
}

export interface StorageClient {
  /** Stores a file whole or not at all; missing collections above it are made. */
  put(
    path: string,
    content: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>,
    options?: PutOptions,
  ): Promise<StoredFile>;
  /** The content, as a stream in `body`. */
  get(path: string, options?: GetOptions): Promise<Response>;
  /** Nothing when there is no such file. The checksum is computed when it is not known. */
  head(path: string): Promise<StoredFile | undefined>;
  /** The resource, or with depth 1 the resource and its children, in this order. */
  propfind(path: string, depth: 0 | 1): Promise<StoredFile[]>;
  /** A file, or a collection with everything in it; what is not there is no error. */
  delete(path: string): Promise<void>;
  /** A collection that exists is no error. */
  mkcol(path: string): Promise<void>;
  move(path: string, to: string, options?: { overwrite?: boolean }): Promise<void>;
  /** Lets the storage fetch a file from another one; resolves when it is there and verified. */
  pull(path: string, source: string, options?: PullOptions): Promise<void>;
  /** Who the token makes us there, and with a path what is allowed there and why. Of this implementation only. */
  whoami(path?: string): Promise<Whoami>;
  /** Third-party copies of ours that the storage runs; those of everybody for its administrators. */
  transfers(): Promise<RunningTransfer[]>;
  /** Ends one of them; one that has ended already is no error. */
  cancelTransfer(id: string): Promise<void>;
  /** Processes of local users, for administrators of the storage. */
  workers(): Promise<RunningWorker[]>;
  /** Ends those of a local account: when nothing uses them any more, or at once. */
  stopWorkers(account: string, options?: { now?: boolean }): Promise<void>;
}

/** The storage refused or failed; `text` is its own explanation. */
export class StorageRequestError extends Error {
  override readonly name = 'StorageRequestError';
  readonly status: number;
  readonly text: string;

  constructor(request: string, status: number, text: string) {
    super(`${request}: ${status} ${text}`.trim());
    this.status = status;
    this.text = text;
  }
}

/**
 * @example
 * const storage = createStorageClient({ url: 'https://127.0.0.11:8081', fetch, token: async () => accessToken });
 * await storage.put('/rucio/drought/a.csv', content);
 * const file = await storage.head('/rucio/drought/a.csv'); // file?.adler32
 */
export function createStorageClient(options: StorageClientOptions): StorageClient {
  interface Ask {
    headers?: Record<string, string>;
    body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
    signal?: AbortSignal | undefined;
    /** Statuses that are no failure although they are not 2xx. */
    accept?: readonly number[];
  }

  const request = (method: string, path: string, ask?: Ask) => send(method, encodePath(path), ask);

  async function send(method: string, path: string, ask: Ask = {}): Promise<Response> {
    const response = await options.fetch(`${options.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${await options.token()}`, ...ask.headers },
      ...(ask.body === undefined ? {} : { body: ask.body }),
      ...(ask.signal ? { signal: ask.signal } : {}),
      // Content takes as long, and is as large, as it is.
      timeoutMilliseconds: 0,
      maximumBytes: 0,
    });
    if (response.ok || ask.accept?.includes(response.status)) return response;
    throw new StorageRequestError(`${method} ${path}`, response.status, (await response.text()).trim());
  }

  async function done(method: string, path: string, ask?: Ask): Promise<void> {
    const response = await request(method, path, ask);
    await response.body?.cancel();
  }

  return {
    async put(path, content, put = {}) {
      const sizeBytes = content instanceof ReadableStream ? put.sizeBytes : byteLength(content);
      const response = await request('PUT', path, {
        headers: {
          'content-type': 'application/octet-stream',
          ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }),
          ...(put.adler32 === undefined ? {} : { digest: `adler32=${put.adler32}` }),
          ...(put.overwrite === false ? { 'if-none-match': '*' } : {}),
        },
        body: content,
        signal: put.signal,
      });
      await response.body?.cancel();
      return describe(path, response.headers, sizeBytes);
    },
    get: (path, { range, signal } = {}) =>
      request('GET', path, { headers: range ? { range: `bytes=${range[0]}-${range[1]}` } : {}, signal }),
    async head(path) {
      const response = await request('HEAD', path, { headers: { 'want-digest': 'adler32' }, accept: [404] });
      return response.status === 404 ? undefined : describe(path, response.headers);
    },
    async propfind(path, depth) {
      const response = await request('PROPFIND', path, { headers: { depth: String(depth) } });
      return readMultistatus(await response.text());
    },
    delete: (path) => done('DELETE', path, { accept: [404] }),
    mkcol: (path) => done('MKCOL', path, { accept: [405] }),
    move: (path, to, { overwrite = true } = {}) =>
      done('MOVE', path, {
        headers: { destination: `${options.url}${encodePath(to)}`, overwrite: overwrite ? 'T' : 'F' },
      }),
    async pull(path, source, pull = {}) {
      const response = await request('COPY', path, {
        headers: {
          source,
          overwrite: pull.overwrite === false ? 'F' : 'T',
          requirechecksumverification: String(pull.requireChecksum ?? true),
          credential: 'none',
          ...(pull.sourceToken === undefined
            ? {}
            : { transferheaderauthorization: `Bearer ${pull.sourceToken}` }),
        },
        signal: pull.signal,
      });
      await followMarkers(`COPY ${path}`, response, pull.onProgress);
    },
    async whoami(path) {
      const query = path === undefined ? '' : `?path=${encodeURIComponent(path)}`;
      return whoamiAnswer.parse(await (await send('GET', `${SERVICE}/whoami${query}`)).json());
    },
    async transfers() {
      return z.array(copyAnswer).parse(await (await send('GET', `${SERVICE}/transfers`)).json());
    },
    async cancelTransfer(id) {
      const path = `${SERVICE}/transfers/${encodeURIComponent(id)}`;
      await (await send('DELETE', path, { accept: [404] })).body?.cancel();
    },
    async workers() {
      return z.array(workerAnswer).parse(await (await send('GET', `${SERVICE}/workers`)).json());
    },
    async stopWorkers(account, { now = false } = {}) {
      const path = `${SERVICE}/workers/${encodeURIComponent(account)}${now ? '?now=true' : ''}`;
      await (await send('DELETE', path)).body?.cancel();
    },
  };
}

/** What is not of WebDAV. */
const SERVICE = '/.weft/api/v1';

function byteLength(content: string | Uint8Array): number {
  return typeof content === 'string' ? new TextEncoder().encode(content).length : content.length;
}

/** @example encodePath('/a b/c') // '/a%20b/c' */
function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

function describe(path: string, headers: Headers, sizeBytes?: number): StoredFile {
  const modified = headers.get('last-modified');
  const length = headers.get('content-length');
  return {
    path,
    collection: headers.get('content-type')?.startsWith('text/html') === true && !headers.has('etag'),
    sizeBytes: sizeBytes ?? Number(length ?? 0),
    modified: modified === null ? undefined : new Date(modified),
    adler32: /(?:^|,)\s*adler32=([0-9a-f]{8})/i.exec(headers.get('digest') ?? '')?.[1]?.toLowerCase(),
    etag: headers.get('etag') ?? undefined,
  };
}

/** Reads the markers of a third-party copy to their end (brief teapot 2.5). */
async function followMarkers(
  what: string,
  response: Response,
  onProgress: PullOptions['onProgress'],
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  let outcome: string | undefined;
  const read = (line: string) => {
    const bytes = /^\s*Stripe Bytes Transferred:\s*(\d+)/i.exec(line)?.[1];
    if (bytes !== undefined) onProgress?.(Number(bytes));
    if (/^\s*(success|failure|failed|aborted)/i.test(line)) outcome = line.trim();
  };
  for await (const chunk of response.body ?? []) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) read(line);
  }
  read(rest);
  if (outcome === undefined)
    throw new StorageRequestError(what, response.status, 'the answer ended without a result');
  if (!/^success/i.test(outcome)) throw new StorageRequestError(what, response.status, outcome);
}

/** Reads what this client needs of a multistatus, whatever prefixes its author chose. */
function readMultistatus(xml: string): StoredFile[] {
  return elements(xml, 'response').flatMap((response) => {
    const href = elements(response, 'href')[0];
    if (href === undefined) return [];
    const found = elements(response, 'propstat').find((propstat) =>
      /\s2\d\d\s/.test(`${elements(propstat, 'status')[0]} `),
    );
    const property = (name: string) => elements(found ?? '', name)[0];
    const modified = property('getlastmodified');
    const path = decodeURIComponent(unescapeXml(href).replace(/^https?:\/\/[^/]*/, ''));
    return [
      {
        path: path === '/' ? path : path.replace(/\/$/, ''),
        collection: /<(?:[\w-]+:)?collection[\s/>]/.test(found ?? ''),
        sizeBytes: Number(property('getcontentlength') ?? 0),
        modified: modified === undefined ? undefined : new Date(modified),
        adler32: property('Checksum')?.toLowerCase(),
        etag: property('getetag') === undefined ? undefined : unescapeXml(property('getetag') ?? ''),
      },
    ];
  });
}

/** Contents of the elements of a local name; elements of one name do not nest in a multistatus. */
function elements(xml: string, name: string): string[] {
  const start = new RegExp(`<(?:[\\w-]+:)?${name}(?:\\s[^<>]*)?>`, 'g');
  const end = new RegExp(`</(?:[\\w-]+:)?${name}>`, 'g');
  const found: string[] = [];
  // One after the other: a storage that never closes what it opens must not have all of it read again for each.
  while (start.exec(xml)) {
    end.lastIndex = start.lastIndex;
    const closed = end.exec(xml);
    if (!closed) break;
    found.push(xml.slice(start.lastIndex, closed.index));
    start.lastIndex = end.lastIndex;
  }
  return found;
}

function unescapeXml(text: string): string {
  const named: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  return text.replace(
    /&(?:#(\d+)|#x([0-9a-f]+)|(lt|gt|quot|apos|amp));/gi,
    (_, decimal?: string, hex?: string, name?: string) =>
      name === undefined
        ? String.fromCodePoint(decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal))
        : (named[name.toLowerCase()] ?? ''),
  );
}
