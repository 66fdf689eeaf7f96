import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Behaviour, type DrunkServer, drip, sendRaw, startDrunkServer } from './drunk-server.ts';
import { startTestSite, type TestDoor, type TestSite, unfinished } from './start-door.ts';

const CONTENT = 'Wikipedia';
const ADLER32 = '11e60398';
/** More than the buffers between two sockets hold. */
const LARGE = randomBytes(24 * 1024 * 1024);

let site: TestSite;
let door: TestDoor;
/** Each gives up soon for one reason alone, so that a busy machine cannot give it another: for partners that only time can tell. */
let hasty: TestDoor;
let eager: TestDoor;
let rash: TestDoor;
let partner: DrunkServer;
let names = 0;

beforeAll(async () => {
  site = await startTestSite();
  partner = await startDrunkServer(site);
  const third_party_copy = { marker_seconds: 0.1, retry_seconds: 0.01, maximum_unknown_bytes: 1_000_000 };
  door = await site.startDoor('hpc', { third_party_copy });
  hasty = await site.startDoor('cloud', { third_party_copy: { ...third_party_copy, idle_seconds: 1 } });
  eager = await site.startDoor('edge', {
    third_party_copy: { ...third_party_copy, slow_seconds: 1, minimum_bytes_per_second: 1000 },
  });
  rash = await site.startDoor('observatory', {
    third_party_copy: { ...third_party_copy, first_byte_seconds: 1 },
  });
  for (const one of [door, hasty, eager]) {
    await one.call('PUT', '/f', { body: CONTENT });
    await one.call('PUT', '/large', { body: LARGE });
  }
});
afterAll(async () => await site.stop());

/** The status when it is a refusal, else the last line. */
async function copy(path: string, headers: Record<string, string>, at = door): Promise<string> {
  const answer = await at.call('COPY', path, {
    headers: { transferheaderauthorization: 'Bearer partner-token', ...headers },
  });
  return answer.status === 202
    ? (answer.text.trimEnd().split('\n').at(-1) ?? '')
    : `${answer.status} ${answer.text.trimEnd()}`;
}

async function pull(source: string, headers: Record<string, string> = {}, at = door) {
  names += 1;
  const name = `pulled-${names}`;
  const outcome = await copy(`/${name}`, { source, ...headers }, at);
  const file = join(at.root, name);
  return { outcome, content: existsSync(file) ? readFileSync(file, 'utf8') : undefined };
}

const whole = { 'content-length': CONTENT.length };
const redirectTo =
  (location: string): Behaviour =>
  (_, response) =>
    void response.writeHead(307, { location }).end();

/** Name, what the source does, what the client is told. */
const SOURCES: readonly [string, Behaviour, RegExp][] = [
  [
    'says another checksum than its content has',
    (_, response) => response.writeHead(200, { ...whole, digest: 'adler32=00000001' }).end(CONTENT),
    /^failure: .*adler32.*11e60398/,
  ],
  [
    'says another checksum on HEAD only',
    ({ method }, response) =>
      method === 'HEAD'
        ? response.writeHead(200, { ...whole, digest: 'adler32=00000001' }).end()
        : response.writeHead(200, whole).end(CONTENT),
    /^failure: The adler32 at .* is 00000001, here it is 11e60398/,
  ],
  [
    'says another size on HEAD than it has sent',
    ({ method }, response) =>
      method === 'HEAD'
        ? response.writeHead(200, { 'content-length': 10 }).end()
        : response.writeHead(200, whole).end(CONTENT),
    /^failure: HEAD .* says 10 bytes, here are 9/,
  ],
  [
    'succeeds with no bytes at all',
    ({ method }, response) =>
      response.writeHead(200, { 'content-length': method === 'HEAD' ? CONTENT.length : 0 }).end(),
    /^failure: HEAD .* says 9 bytes, here are 0/,
  ],
  [
    'sends more than it has announced, with the checksum of all of it',
    (request) =>
      sendRaw(
        request,
        'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nDigest: adler32=11e60398\r\nConnection: close\r\n\r\nWikipedia',
      ),
    /^failure: .*adler32/,
  ],
  [
    'never ends its chunks',
    (request, response) => {
      response.writeHead(200);
      drip(request, 1, () => response.write('.'.repeat(50_000)));
    },
    /^failure: GET .* does not tell its length and has sent more than 1000000 bytes/,
  ],
  [
    'breaks off between chunks',
    (request) => {
      sendRaw(request, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nWikipedia\r\n');
      setTimeout(() => request.socket.destroy(), 50);
    },
    /^failure: GET .* broke off after \d bytes/,
  ],
  [
    'sends chunks that are none',
    (request) =>
      sendRaw(request, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\nWikipedia\r\n'),
    /^failure: GET .* broke off after 0 bytes/,
  ],
  [
    'sends half of it and closes',
    (request) => {
      sendRaw(request, 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nWiki');
      setTimeout(() => request.socket.end(), 50);
    },
    /^failure: GET .* broke off after \d of 9 bytes/,
  ],
  [
    'resets the connection in the middle',
    (request) => {
      sendRaw(request, 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nWiki');
      setTimeout(() => request.socket.destroy(), 50);
    },
    /^failure: GET .* broke off after \d of 9 bytes/,
  ],
  [
    'resets every connection at once',
    (request) => void request.socket.destroy(),
    /^502 GET .* failed: (socket hang up|read ECONNRESET|.*closed)/,
  ],
  [
    'answers half a header and closes',
    (request) => {
      sendRaw(request, 'HTTP/1.1 200 OK\r\nContent-Le');
      setTimeout(() => request.socket.end(), 50);
    },
    /^502 GET .* failed/,
  ],
  [
    'answers in another language',
    (request) => sendRaw(request, 'SSH-2.0-OpenSSH_9.2\r\n'),
    /^502 GET .* failed: Parse Error/,
  ],
  [
    'answers with a status that is none',
    (request) => sendRaw(request, 'HTTP/1.1 abc OK\r\n\r\n'),
    /^502 GET .* failed: Parse Error/,
  ],
  [
    'puts control characters into its status',
    (request) => sendRaw(request, 'HTTP/1.1 500 \u0001\u001b[31mno\r\nContent-Length: 0\r\n\r\n'),
    /^502 GET .*( answered 500|failed: Parse Error)/,
  ],
  [
    'sends headers without end',
    (request) => sendRaw(request, `HTTP/1.1 200 OK\r\n${'X-Header: y\r\n'.repeat(5000)}`),
    /^502 GET .* failed: Parse Error/,
  ],
  ['has no content', (_, response) => response.writeHead(204).end(), /^502 GET .* answered 204/],
  [
    'sends a part that nobody asked for',
    (_, response) => response.writeHead(206, { ...whole, 'content-range': 'bytes 0-8/100' }).end(CONTENT),
    /^502 GET .* answered 206/,
  ],
  [
    'compresses what it sends',
    (_, response) => response.writeHead(200, { ...whole, 'content-encoding': 'gzip' }).end(CONTENT),
    /^502 GET .* sent content in the encoding gzip/,
  ],
  [
    'says a checksum that cannot be one',
    (_, response) => response.writeHead(200, { ...whole, digest: 'adler32=nonsense' }).end(CONTENT),
    /^(400|502|failure:) .*nonsense.* is no adler32 checksum/,
  ],
  [
    'is busy for ever',
    (_, response) =>
      response
        .writeHead(503, { 'content-type': 'text/plain' })
        .end('try later, Bearer eyJhbGciOiJub.eyJzdWIiOiJ4In0.c2ln'),
    /^502 GET .* answered 503 Service Unavailable: try later, Bearer \*\*\*$/,
  ],
  [
    'redirects without saying where',
    (_, response) => response.writeHead(302).end(),
    /^502 GET .* answered 302/,
  ],
  [
    'redirects in a circle',
    (request, response) => response.writeHead(302, { location: `${request.url}?again` }).end(),
    /^502 GET .* was redirected more than 20 times/,
  ],
  [
    'redirects to http',
    redirectTo('http://127.0.0.1:1/secret'),
    /^502 GET .* was redirected to http:\/\/127\.0\.0\.1:1\/secret, which is not followed/,
  ],
  ['redirects to a file of this machine', redirectTo('file:///etc/passwd'), /^502 .* which is not followed/],
  [
    'redirects to an internal address',
    redirectTo('https://169.254.169.254/latest/meta-data'),
    /^403 169\.254\.169\.254 is an internal address/,
  ],
  [
    'has another file when the broken connection is taken up (412)',
    (request, response, asked) => {
      if (asked.count('GET') > 1) return response.writeHead(412).end();
      sendRaw(request, 'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 9\r\n\r\nWiki');
      setTimeout(() => request.socket.destroy(), 20);
    },
    /^failure: GET .* answered that the file has changed when asked for bytes \d to 8/,
  ],
  [
    'has another file when the broken connection is taken up (ETag)',
    (request, response, asked) => {
      if (asked.count('GET') > 1) {
        const [, from = '0'] = /bytes=(\d+)/.exec(request.headers.range ?? '') ?? [];
        const headers = {
          etag: '"two"',
          'content-range': `bytes ${from}-8/9`,
          'content-length': 9 - Number(from),
        };
        return response.writeHead(206, headers).end(CONTENT.slice(Number(from)));
      }
      sendRaw(request, 'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 9\r\n\r\nWiki');
      setTimeout(() => request.socket.destroy(), 20);
    },
    /^failure: GET .* another ETag/,
  ],
  [
    'answers 200 in place of 206',
    (request, response, asked) => {
      if (asked.count('GET') > 1) return response.writeHead(200, whole).end(CONTENT);
      sendRaw(request, 'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 9\r\n\r\nWiki');
      setTimeout(() => request.socket.destroy(), 20);
    },
    /^failure: GET .* answered 200 when asked for bytes \d to 8/,
  ],
  [
    'sends another part than it was asked for',
    (request, response, asked) => {
      if (asked.count('GET') > 1)
        return response.writeHead(206, { 'content-range': 'bytes 0-4/9', 'content-length': 5 }).end('Wikip');
      sendRaw(request, 'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 9\r\n\r\nWiki');
      setTimeout(() => request.socket.destroy(), 20);
    },
    /^failure: GET .* sent the part "bytes 0-4\/9"/,
  ],
  [
    'breaks off again and again',
    (request) => {
      sendRaw(request, 'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: 9\r\n\r\nWiki');
      setTimeout(() => request.socket.destroy(), 5);
    },
    /^failure: GET .* (broke off after|answered 200 when asked)/,
  ],
];

const SILENT_SOURCES: readonly [string, Behaviour, RegExp][] = [
  [
    'goes silent in the middle',
    (_, response) => void response.writeHead(200, { 'content-length': 1_000_000 }).write(CONTENT),
    /^failure: The other side has sent or taken nothing/,
  ],
];

const SLOW_SOURCES: typeof SILENT_SOURCES = [
  [
    'drips',
    (request, response) => {
      response.writeHead(200, { 'content-length': 1_000_000 });
      drip(request, 100, () => response.write('.'));
    },
    /^failure: The other side is too slow: \d+ bytes in 1 s/,
  ],
];

const DEAF_SOURCES: typeof SILENT_SOURCES = [
  ['never answers', () => undefined, /^502 The other side has sent or taken nothing/],
  [
    'sends its headers one by one for ever',
    (request) => {
      sendRaw(request, 'HTTP/1.1 200 OK\r\n');
      drip(request, 100, () => sendRaw(request, 'X-Wait: x\r\n'));
    },
    /^502 The other side has sent or taken nothing/,
  ],
];

describe.concurrent('a source that', () => {
  it.each(SOURCES)('%s yields its failure and no file', async (_, behaviour, told) => {
    const { outcome, content } = await pull(partner.at(behaviour));
    expect(outcome).toMatch(told);
    expect(content).toBeUndefined();
  });

  it.each(SILENT_SOURCES)('%s yields its failure and no file', async (_, behaviour, told) => {
    const { outcome, content } = await pull(partner.at(behaviour), {}, hasty);
    expect(outcome).toMatch(told);
    expect(content).toBeUndefined();
  });

  it.each(SLOW_SOURCES)('%s yields its failure and no file', async (_, behaviour, told) => {
    const { outcome, content } = await pull(partner.at(behaviour), {}, eager);
    expect(outcome).toMatch(told);
    expect(content).toBeUndefined();
  });

  it.each(DEAF_SOURCES)('%s yields its failure and no file', async (_, behaviour, told) => {
    const { outcome, content } = await pull(partner.at(behaviour), {}, rash);
    expect(outcome).toMatch(told);
    expect(content).toBeUndefined();
  });

  it('tells no checksum fails a client that requires one', async () => {
    const url = partner.at(({ method }, response) =>
      response.writeHead(200, whole).end(method === 'HEAD' ? undefined : CONTENT),
    );
    const required = await pull(url, { requirechecksumverification: 'true' });
    expect(required).toEqual({
      outcome: expect.stringMatching(/^failure: .* tells no checksum that could be compared/),
      content: undefined,
    });
    expect(await pull(url, { requirechecksumverification: 'false' })).toEqual({
      outcome: 'success: Created',
      content: CONTENT,
    });
  });

  it.each([
    ['adler32=11E60398'],
    ['ADLER32=11e60398'],
    ['adler=11e60398'],
    ['unixsum=4711,adler32=11e60398'],
    ['md5=nGdyhoZqrTj46bZg9UEYFA=='],
    ['MD5=9c677286866aad38f8e9b660f5411814'],
  ])('says its checksum as Digest: %s is understood', async (digest) => {
    const url = partner.at((_, response) => response.writeHead(200, { ...whole, digest }).end(CONTENT));
    expect(await pull(url, { requirechecksumverification: 'true' })).toEqual({
      outcome: 'success: Created',
      content: CONTENT,
    });
    expect(partner.asked(url).count('HEAD')).toBe(0);
  });

  it('sends a body after HEAD cannot slip an answer under another request', async () => {
    const url = partner.at((request, response) => {
      if (request.method === 'GET') return response.writeHead(200, whole).end(CONTENT);
      const smuggled = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nDigest: adler32=11e60398\r\n\r\n';
      sendRaw(request, `HTTP/1.1 200 OK\r\nContent-Length: 9\r\nDigest: adler32=00000001\r\n\r\n${smuggled}`);
    });
    expect((await pull(url)).outcome).toMatch(/^failure: The adler32/);
  });

  it('is busy for a moment is asked again', async () => {
    const url = partner.at((_, response, asked) =>
      asked.count('GET') < 3
        ? response.writeHead(503).end()
        : response.writeHead(200, { ...whole, digest: `adler32=${ADLER32}` }).end(CONTENT),
    );
    expect((await pull(url)).outcome).toBe('success: Created');
  });

  it('breaks off is taken up where it broke, when its ETag says that it is the same file', async () => {
    const url = partner.at((request, response, asked) => {
      const { range } = request.headers;
      const [, from = '0'] = /bytes=(\d+)-8/.exec(range ?? '') ?? [];
      const rest = CONTENT.slice(Number(from));
      response.setHeader('etag', '"one"').setHeader('content-length', rest.length);
      if (range) response.setHeader('content-range', `bytes ${from}-8/9`);
      response.writeHead(range ? 206 : 200);
      if (asked.count('GET') > 3 || request.method === 'HEAD') return response.end(rest);
      response.write(rest.slice(0, 2));
      setTimeout(() => request.socket.destroy(), 50);
    });
    expect(await pull(url)).toEqual({ outcome: 'success: Created', content: CONTENT });
    const [first, ...others] = partner.asked(url).requests.filter(({ method }) => method === 'GET');
    expect(first?.headers.range).toBeUndefined();
    expect(others.map(({ headers }) => [headers['if-match'], headers['if-range']])).toEqual(
      others.map(() => ['"one"', '"one"']),
    );
    expect(others).toHaveLength(3);
  });
});

/** A target that takes a file well, with what a test wants otherwise. */
function target(lies: {
  put?: Behaviour;
  /** In place of what it tells about the file. */
  head?: Record<string, string | number>;
  before?: Record<string, string | number>;
}): Behaviour {
  let arrived = false;
  return (request, response, asked) => {
    const { method } = request;
    if (method === 'DELETE') {
      arrived = false;
      response.writeHead(204).end();
    } else if (method === 'HEAD') {
      const facts = arrived ? (lies.head ?? whole) : lies.before;
      if (facts) response.writeHead(200, facts).end();
      else response.writeHead(404).end();
    } else {
      arrived = true;
      if (lies.put) return lies.put(request, response, asked);
      request.resume();
      request.on('end', () => response.writeHead(201).end());
    }
  };
}

/** Name, which file, what the target does, what the client is told, whether what is there is removed. */
const TARGETS: readonly [string, string, Behaviour, RegExp, boolean][] = [
  [
    'has another size afterwards',
    '/f',
    target({ head: { 'content-length': 8 } }),
    /^failure: HEAD .* says 8 bytes, here are 9/,
    true,
  ],
  [
    'has no bytes afterwards',
    '/f',
    target({ head: { 'content-length': 0 } }),
    /^failure: HEAD .* says 0 bytes, here are 9/,
    true,
  ],
  [
    'has another checksum afterwards',
    '/f',
    target({ head: { ...whole, digest: 'adler32=00000001' } }),
    /^failure: The adler32 at .* is 00000001, here it is 11e60398/,
    true,
  ],
  [
    'has another md5 afterwards',
    '/f',
    target({ head: { ...whole, digest: 'md5=00000000000000000000000000000000' } }),
    /^failure: The md5 at .* is 0{32}, here it is 9c677286/,
    true,
  ],
  [
    'says a checksum that cannot be one',
    '/f',
    target({ head: { ...whole, digest: 'adler32=nonsense' } }),
    /^failure: nonsense is no adler32 checksum/,
    true,
  ],
  [
    'does not know the file afterwards',
    '/f',
    (request, response) => {
      request.resume();
      request.on('end', () => response.writeHead(request.method === 'PUT' ? 201 : 404).end());
    },
    /^failure: HEAD .* answered 404/,
    true,
  ],
  [
    'says that it has it before it was sent',
    '/large',
    target({ put: (_, response) => void response.writeHead(201).end() }),
    /^failure: PUT .* answered 201 before it had all of the file/,
    true,
  ],
  [
    'loses the connection and keeps a stump',
    '/large',
    target({
      put: (request) => void request.once('data', () => request.socket.destroy()),
      head: { 'content-length': 1000 },
    }),
    /^failure: PUT .* failed/,
    true,
  ],
  [
    'loses the connection and keeps the older file',
    '/large',
    target({
      put: (request) => void request.once('data', () => request.socket.destroy()),
      before: { 'content-length': 7, etag: '"old"' },
      head: { 'content-length': 7, etag: '"old"' },
    }),
    /^failure: PUT .* failed/,
    false,
  ],
  [
    'refuses it in the middle and says why',
    '/large',
    target({
      put: (request, response) =>
        void request.once('data', () =>
          response.writeHead(507, { 'content-type': 'text/plain' }).end('the quota is used up\n'),
        ),
    }),
    /^failure: PUT .* answered 507 Insufficient Storage: the quota is used up$/,
    false,
  ],
  [
    'answers in another language',
    '/f',
    target({ put: (request) => sendRaw(request, 'SSH-2.0-OpenSSH_9.2\r\n'), head: { 'content-length': 0 } }),
    /^failure: PUT .* failed: Parse Error/,
    true,
  ],
  [
    'redirects in a circle',
    '/f',
    target({
      put: (request, response) => {
        request.resume();
        response.writeHead(307, { location: `${request.url}?again` }).end();
      },
    }),
    /^failure: PUT .* was redirected more than 20 times/,
    true,
  ],
  [
    'redirects to http',
    '/f',
    target({ put: redirectTo('http://127.0.0.1:1/f') }),
    /^failure: PUT .* was redirected to http:\/\/127\.0\.0\.1:1\/f, which is not followed/,
    true,
  ],
  [
    'redirects to an internal address',
    '/f',
    target({ put: redirectTo('https://10.0.0.1/f') }),
    /^failure: 10\.0\.0\.1 is an internal address/,
    true,
  ],
];

const SILENT_TARGETS: typeof TARGETS = [
  [
    'takes nothing',
    '/large',
    target({ put: () => undefined }),
    /^failure: The other side has sent or taken nothing/,
    true,
  ],
  [
    'never says whether it has it',
    '/f',
    target({ put: (request) => void request.resume() }),
    /^failure: The other side has sent or taken nothing/,
    true,
  ],
];

const SLOW_TARGETS: typeof TARGETS = [
  [
    'takes it in drips',
    '/large',
    target({ put: (request) => drip(request, 100, () => void request.read(20)) }),
    /^failure: The other side is too slow/,
    true,
  ],
];

describe.concurrent('a target that', () => {
  it.each(SILENT_TARGETS)(
    '%s yields its failure, and nothing wrong stays there',
    async (_, path, behaviour, told, removed) => {
      const destination = partner.at(behaviour);
      expect(await copy(path, { destination }, hasty)).toMatch(told);
      expect(partner.asked(destination).count('DELETE')).toBe(removed ? 1 : 0);
    },
  );

  it.each(SLOW_TARGETS)(
    '%s yields its failure, and nothing wrong stays there',
    async (_, path, behaviour, told, removed) => {
      const destination = partner.at(behaviour);
      expect(await copy(path, { destination }, eager)).toMatch(told);
      expect(partner.asked(destination).count('DELETE')).toBe(removed ? 1 : 0);
    },
  );

  it.each(TARGETS)(
    '%s yields its failure, and nothing wrong stays there',
    async (_, path, behaviour, told, removed) => {
      const destination = partner.at(behaviour);
      expect(await copy(path, { destination })).toMatch(told);
      expect(partner.asked(destination).count('DELETE')).toBe(removed ? 1 : 0);
    },
  );

  it('tells no checksum fails a client that requires one', async () => {
    const required = partner.at(target({}));
    expect(await copy('/f', { destination: required, requirechecksumverification: 'true' })).toMatch(
      /^failure: .* tells no checksum/,
    );
    expect(partner.asked(required).count('DELETE')).toBe(1);
    expect(await copy('/f', { destination: partner.at(target({})) })).toBe('success: Created');
  });

  it('is to get a large file is asked first whether it wants it, and heard when it does not', async () => {
    const digest = { 'content-length': LARGE.length };
    const wants = partner.at(target({ head: digest }));
    expect(await copy('/large', { destination: wants })).toBe('success: Created');
    const small = partner.at(target({}));
    expect(await copy('/f', { destination: small })).toBe('success: Created');
    const put = (url: string) => partner.asked(url).requests.filter(({ method }) => method === 'PUT');
    expect(put(wants).map(({ headers }) => headers.expect)).toEqual(['100-continue']);
    expect(put(small).map(({ headers }) => headers.expect)).toEqual([undefined]);
    const refuses = partner.at(
      target({
        head: digest,
        put: (request, response) => {
          if (request.headers.expect) return response.writeHead(417).end();
          request.resume();
          request.on('end', () => response.writeHead(201).end());
        },
      }),
    );
    expect(await copy('/large', { destination: refuses })).toBe('success: Created');
  });
});

it('leaves nothing unfinished behind', () => {
  expect([door, hasty, eager, rash].flatMap(({ root }) => unfinished(root))).toEqual([]);
});
