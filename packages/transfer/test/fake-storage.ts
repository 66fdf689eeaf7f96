import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How a storage may misbehave. Each concerns the file of that path, or every file when it stands at `*`. */
export type Misbehaviour =
  | 'wrong-size'
  | 'wrong-checksum'
  | 'no-checksum'
  | 'silent-copy'
  | 'lost-before-copy'
  | 'lost-after-copy'
  | 'verdict-failure'
  | 'copy-not-offered'
  | 'parent-missing'
  | 'copy-500'
  | 'slow-copy'
  | 'delete-500'
  | 'head-503'
  | 'markers-backwards';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

export interface FakeStorage {
  readonly origin: string;
  readonly files: Map<string, Buffer>;
  readonly collections: Set<string>;
  readonly misbehave: Map<string, Set<Misbehaviour>>;
  readonly requests: SeenRequest[];
  /** When set, every request needs this bearer. */
  token: string | undefined;
  /** Lets copies that are held by `slow-copy` go on. */
  release(): void;
  close(): Promise<void>;
}

/** A WebDAV storage in memory that does third-party copies in both directions, and lies when told to. */
export async function startFakeStorage(host = '127.0.0.1'): Promise<FakeStorage> {
  const files = new Map<string, Buffer>();
  const collections = new Set<string>();
  const misbehave = new Map<string, Set<Misbehaviour>>();
  const requests: SeenRequest[] = [];
  let waiting: (() => void)[] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  const storage: FakeStorage = {
    origin: `http://${host}:${port}`,
    files,
    collections,
    misbehave,
    requests,
    token: undefined,
    release: () => {
      for (const go of waiting) go();
      waiting = [];
    },
    close: async () => {
      storage.release();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return storage;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const { method = '' } = request;
    requests.push({ method, path, headers: request.headers });
    const does = (what: Misbehaviour) =>
      misbehave.get(path)?.has(what) || misbehave.get('*')?.has(what) || false;
    if (storage.token !== undefined && request.headers.authorization !== `Bearer ${storage.token}`)
      return end(response, 403, 'the token of this storage is needed');
    const content = files.get(path);
    switch (method) {
      case 'HEAD':
        if (does('head-503')) return end(response, 503);
        return head(request, response, content, does);
      case 'GET':
        return content ? end(response, 200, content) : end(response, 404, 'no such file');
      case 'PUT':
        files.set(path, await bodyOf(request));
        return end(response, 201);
      case 'DELETE':
        if (does('delete-500')) return end(response, 500, 'disk on fire');
        return end(response, files.delete(path) ? 204 : 404);
      case 'MKCOL':
        collections.add(path.replace(/\/$/, ''));
        return end(response, 201);
      case 'COPY':
        return copy(request, response, path, does);
      default:
        return end(response, 405);
    }
  }

  function head(
    request: IncomingMessage,
    response: ServerResponse,
    content: Buffer | undefined,
    does: (what: Misbehaviour) => boolean,
  ): void {
    if (!content) {
      end(response, 404);
      return;
    }
    const wanted = request.headers['want-digest'];
    const digest = does('wrong-checksum') ? '00000001' : adler32(content);
    response.writeHead(200, {
      'content-length': does('wrong-size') ? content.length + 1 : content.length,
      etag: `"${adler32(content)}-${content.length}"`,
      ...(wanted && !does('no-checksum') ? { digest: `adler32=${digest}` } : {}),
    });
    response.end();
  }

  async function copy(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    does: (what: Misbehaviour) => boolean,
  ): Promise<void> {
    const { source, destination, overwrite } = request.headers;
    if (does('copy-not-offered')) return end(response, 501, 'no third-party copy here');
    if (does('copy-500')) return end(response, 500, 'the pool manager is on holiday');
    const parent = path.slice(0, path.lastIndexOf('/'));
    if (does('parent-missing') && !collections.has(parent)) return end(response, 409, 'no such collection');
    if (typeof source === 'string' && overwrite === 'F' && files.has(path))
      return end(response, 412, 'exists');
    response.writeHead(201, { 'content-type': 'text/plain' });
    response.write(marker(0));
    if (does('silent-copy')) return;
    if (does('lost-before-copy')) return void response.destroy();
    if (does('verdict-failure')) {
      if (typeof source === 'string') files.set(path, Buffer.alloc(0));
      return void response.end('failure: rejected GET: 507 no space left in pool p1\n');
    }
    const remote = String(source ?? destination);
    const passive = request.headers.transferheaderauthorization;
    const headers = typeof passive === 'string' ? { authorization: passive } : undefined;
    if (does('slow-copy')) {
      // A storage without temporary names: half of the file is there to see.
      const half = await fetch(remote, headers ? { headers } : {});
      const bytes = Buffer.from(await half.arrayBuffer());
      files.set(path, bytes.subarray(0, bytes.length / 2));
      response.write(marker(bytes.length / 2));
      const gone = new Promise<'gone'>((resolve) => response.once('close', () => resolve('gone')));
      const released = new Promise<'released'>((resolve) => waiting.push(() => resolve('released')));
      if ((await Promise.race([gone, released])) === 'gone') return;
    }
    const verdict = typeof source === 'string' ? await pull() : await push();
    if (does('markers-backwards')) response.write(marker(100) + marker(50));
    if (does('lost-after-copy')) {
      await sleep(20);
      return void response.destroy();
    }
    // Without a newline, as xrootd ends it.
    response.end(verdict);

    async function pull(): Promise<string> {
      const answer = await fetch(remote, headers ? { headers } : {});
      if (!answer.ok) return `failure: rejected GET: ${answer.status} ${await answer.text()}`;
      const bytes = Buffer.from(await answer.arrayBuffer());
      files.set(path, bytes);
      response.write(marker(bytes.length));
      return 'success: Created';
    }

    async function push(): Promise<string> {
      const bytes = files.get(path) ?? Buffer.alloc(0);
      const answer = await fetch(remote, {
        method: 'PUT',
        body: new Uint8Array(bytes),
        ...(headers ? { headers } : {}),
      });
      return answer.ok ? 'success: Created' : `failure: rejected PUT: ${answer.status}`;
    }
  }

  function end(response: ServerResponse, status: number, body?: string | Buffer): void {
    response.writeHead(status);
    response.end(body);
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function marker(bytes: number): string {
  return `Perf Marker\n\tTimestamp: ${Math.floor(Date.now() / 1000)}\n\tStripe Index: 0\n\tStripe Bytes Transferred: ${bytes}\n\tTotal Stripe Count: 1\nEnd\n`;
}

export function adler32(content: Uint8Array): string {
  let a = 1;
  let b = 0;
  for (const byte of content) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return (((b << 16) | a) >>> 0).toString(16).padStart(8, '0');
}
