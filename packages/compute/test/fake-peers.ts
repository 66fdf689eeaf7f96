import type { TokenSource } from '@weft/kernel/auth';
import { Secret } from '@weft/kernel/config';
import type { GuardedFetch } from '@weft/kernel/http';
import { Adler32 } from '../src/core/adler32.ts';

export const DATALAKE = 'https://datalake.test';
export const HERE = 'https://here.test:8082';
export const FAR = 'https://far.test:8081';
const ORIGINS: Readonly<Record<string, string>> = { 'HPC-SCRATCH': HERE, 'OBS-DISK': FAR };

interface CataloguedFile {
  bytes: number;
  adler32: string;
  /** RSE → state letter. */
  replicas: Map<string, string>;
}

export function adler32(content: string): string {
  const checksum = new Adler32();
  checksum.update(Buffer.from(content));
  return checksum.digest();
}

/** A datalake with two RSEs, and their storages: as much of Rucio's and WebDAV's behaviour as staging needs. */
export function fakePeers() {
  const files = new Map<string, CataloguedFile>();
  const datasets = new Map<string, string[]>();
  const stored = new Map<string, string>();
  const requests: string[] = [];
  /** Requests that fail once: `PUT /rucio/drought/x`. */
  const failures = new Map<string, number>();

  const pfn = (rse: string, name: string) =>
    `davs://${new URL(ORIGINS[rse] ?? '').host}/rucio/drought/${name}`;
  const line = (name: string, rses?: string) => {
    const file = files.get(name);
    if (file === undefined) return [];
    const at = [...file.replicas].filter(([rse, state]) =>
      rses === undefined ? state === 'A' : rse === rses,
    );
    return [
      JSON.stringify({
        scope: 'drought',
        name,
        bytes: file.bytes,
        adler32: file.adler32,
        pfns: Object.fromEntries(at.map(([rse], index) => [pfn(rse, name), { rse, priority: index + 1 }])),
      }),
    ];
  };

  function datalake(method: string, path: string, body: Record<string, unknown>): Response {
    const named = (value: unknown) => (Array.isArray(value) ? value : []);
    const text = (content: string, status = 200) => new Response(content, { status });
    const refuse = (status: number, name: string) =>
      Response.json({ ExceptionClass: name, ExceptionMessage: 'No.' }, { status });
    if (path === '/replicas/list') {
      const rse = typeof body.rse_expression === 'string' ? body.rse_expression : undefined;
      return text(
        named(body.dids)
          .flatMap(({ name }) => (datasets.get(name) ?? [name]).flatMap((file) => line(file, rse)))
          .join('\n'),
      );
    }
    if (path === '/dids/bulkmeta') {
      const known = named(body.dids).flatMap(({ name }) => {
        const file = files.get(name);
        return file ? [JSON.stringify({ name, bytes: file.bytes, adler32: file.adler32 })] : [];
      });
      return text(known.join('\n'));
    }
    if (path === '/replicas' && method === 'POST') {
      for (const { name, bytes, adler32, state } of named(body.files)) {
        const known = files.get(name);
        if (known !== undefined && known.adler32 !== adler32) return refuse(409, 'FileConsistencyMismatch');
        const file = known ?? { bytes, adler32, replicas: new Map<string, string>() };
        if (!file.replicas.has(String(body.rse))) file.replicas.set(String(body.rse), state);
        files.set(name, file);
      }
      return text('', 201);
    }
    if (path === '/replicas' && method === 'PUT') {
      for (const { name, state } of named(body.files)) files.get(name)?.replicas.set(String(body.rse), state);
      return text('');
    }
    const dataset = /^\/dids\/drought\/([^/]+)(\/dids)?$/.exec(path);
    const [, name = '', contents] = dataset ?? [];
    if (contents === undefined && dataset) {
      if (datasets.has(name)) return refuse(409, 'DataIdentifierAlreadyExists');
      datasets.set(name, []);
      return text('', 201);
    }
    if (dataset) {
      const present = datasets.get(name) ?? [];
      if (method === 'GET') return text(present.map((file) => JSON.stringify({ name: file })).join('\n'));
      const wanted = named(body.dids).map((did) => String(did.name));
      if (wanted.some((file) => present.includes(file))) return refuse(409, 'FileAlreadyExists');
      datasets.set(name, [...present, ...wanted]);
      return text('', 201);
    }
    const rse = /^\/rses\/([^/]+)$/.exec(path)?.[1];
    if (rse !== undefined) {
      const { hostname, port } = new URL(ORIGINS[rse] ?? '');
      return Response.json({
        protocols: [{ hostname, port: Number(port), scheme: 'davs', prefix: '/rucio' }],
      });
    }
    if (path.includes('/distances/'))
      return Response.json([{ distance: path.startsWith('/rses/OBS') ? 7 : 1 }]);
    return refuse(404, 'NotFound');
  }

  async function storage(method: string, url: URL, init: Parameters<GuardedFetch>[1]): Promise<Response> {
    const content = stored.get(url.href);
    if (method === 'PUT') {
      const body =
        init?.body instanceof ReadableStream
          ? await new Response(init.body).text()
          : String(init?.body ?? '');
      stored.set(url.href, body);
      return new Response('', { status: 201, headers: { digest: `adler32=${adler32(body)}` } });
    }
    if (content === undefined) return new Response('not here', { status: 404 });
    const headers = {
      digest: `adler32=${adler32(content)}`,
      'content-length': String(content.length),
      etag: '"1"',
    };
    return new Response(method === 'HEAD' ? null : content, { headers });
  }

  return {
    files,
    datasets,
    stored,
    requests,
    failures,
    /** Puts a file on storages and into a dataset. */
    add(dataset: string, name: string, content: string, ...rses: string[]) {
      files.set(name, {
        bytes: content.length,
        adler32: adler32(content),
        replicas: new Map(rses.map((rse) => [rse, 'A'])),
      });
      for (const rse of rses) stored.set(pfn(rse, name).replace('davs:', 'https:'), content);
      datasets.set(dataset, [...(datasets.get(dataset) ?? []), name]);
    },
    async answer(url: URL, init: Parameters<GuardedFetch>[1]): Promise<Response | undefined> {
      if (![DATALAKE, HERE, FAR].includes(url.origin)) return undefined;
      const method = init?.method ?? 'GET';
      const what = `${method} ${url.pathname}`;
      requests.push(`${method} ${url.href}`);
      const left = failures.get(what) ?? 0;
      if (left > 0) {
        failures.set(what, left - 1);
        return new Response('not now', { status: 503 });
      }
      const headers = init?.headers ?? {};
      const token = headers['x-rucio-auth-token'] ?? headers.authorization?.replace('Bearer ', '') ?? '';
      if (!token.startsWith(`alice for ${url.origin} `)) return new Response('bad token', { status: 401 });
      if (url.origin === DATALAKE) {
        return datalake(method, url.pathname, typeof init?.body === 'string' ? JSON.parse(init.body) : {});
      }
      const scope = method === 'PUT' ? 'storage.create' : 'storage.read';
      if (!token.includes(`${scope}:${url.pathname}`)) return new Response('no scope', { status: 403 });
      return storage(method, url, init);
    },
  };
}

/** Tokens that say in plain words who may do what where; exchanges are remembered. */
export function fakeTokens(exchanges: { audience: string; scopes: readonly string[] }[] = []): TokenSource {
  const give = (audience: string, scopes: readonly string[]) => ({
    accessToken: `alice for ${audience} ${scopes.join(' ')}`,
    expiresAt: new Date(Date.now() + 60_000),
    scopes,
    refreshToken: new Secret(`${audience}|${scopes.join(' ')}`),
  });
  return {
    own: async ({ audience, scopes }) => `compute for ${audience} ${scopes.join(' ')}`,
    async exchange(_token, { audience, scopes }) {
      exchanges.push({ audience, scopes });
      return give(audience, scopes);
    },
    async refresh(refreshToken, { audience, scopes }) {
      const [audiences = '', granted = ''] = refreshToken.reveal().split('|');
      const within = scopes.every((scope) =>
        granted.split(' ').some((held) => scope === held || scope.startsWith(`${held}/`)),
      );
      if (!audiences.split(' ').includes(audience) || !within)
        throw new Error(`not granted: ${audience} ${scopes.join(' ')}`);
      return give(audience, scopes);
    },
  };
}
