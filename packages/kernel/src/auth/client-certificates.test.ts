import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ConnectionOptions, connect } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createListener } from '../http/index.ts';
import { type Authority, ensureAuthority } from '../pki/index.ts';
import { createLogger } from '../telemetry/index.ts';
import {
  AUTHORITY,
  extension,
  makeCertificate,
  makeProxy,
  makeRevocationList,
  makeVomsExtension,
  sequence,
  type TestCertificate,
  USER,
  type WantedAttributes,
} from '../testing/test-certificates.ts';
import { createTestIssuer, type TestIssuer } from '../testing/test-issuer.ts';
import { authenticate } from './authenticate.ts';
import { type ClientCertificatesOptions, createClientCertificates } from './client-certificates.ts';

const BASE = '/DC=org/DC=example';
const ALICE = `${BASE}/CN=Alice`;
const AUDIENCE = 'https://service.test';
const HOUR = 3600_000;
const log = createLogger({ name: 'test', level: 'silent' });
const folder = mkdtempSync(path.join(tmpdir(), 'weft-clients-'));

const root = makeCertificate({ subject: `${BASE}/CN=Root`, extensions: AUTHORITY });
const other = makeCertificate({ subject: `${BASE}/CN=Other`, extensions: AUTHORITY });
const alice = makeCertificate({ subject: ALICE, by: root, extensions: USER });
const bob = makeCertificate({ subject: `${BASE}/CN=Bob`, by: root, extensions: USER });
const server = makeCertificate({ subject: `${BASE}/CN=voms.example.org`, by: root, extensions: USER });

let authority: Authority;
let provider: TestIssuer;
let authorities: string;
let voms: string;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  authority = await ensureAuthority(path.join(folder, 'pki'));
  provider = await createTestIssuer();
});
afterAll(async () => {
  for (const close of closing) await close();
  rmSync(folder, { recursive: true });
});

/** A folder of authorities, and one of VOMS servers, as a site has them. */
function makeTrust(): void {
  const base = mkdtempSync(path.join(folder, 'trust-'));
  authorities = path.join(base, 'certificates');
  voms = path.join(base, 'vomsdir');
  mkdirSync(authorities);
  writeFileSync(path.join(authorities, 'Root.pem'), root.pem);
  symlinkSync('Root.pem', path.join(authorities, '0a1b2c3d.0'));
  writeFileSync(path.join(authorities, '0a1b2c3d.r0'), makeRevocationList(root, []));
  lsc('drought', [server.subject, root.subject]);
}
beforeEach(makeTrust);

function lsc(vo: string, names: readonly string[]): void {
  mkdirSync(path.join(voms, vo), { recursive: true });
  writeFileSync(path.join(voms, vo, 'voms.example.org.lsc'), `${names.join('\n')}\n`);
}

const certificate = () =>
  authority.ensureServerCertificate('server', { commonName: 'localhost', hosts: ['127.0.0.1'] });

async function serve(options: Partial<ClientCertificatesOptions> = {}): Promise<number> {
  const clientCertificates = await createClientCertificates({
    authoritiesFolder: authorities,
    vomsFolder: voms,
    log,
    ...options,
  });
  const app = createListener({
    log,
    tls: await certificate(),
    requestClientCertificate: true,
    clientCertificates: clientCertificates.at(AUDIENCE),
  });
  app.get('/', async (request) => {
    const { kind, subject, groups, certificate, scopes } = await authenticate(request, provider.verifier, [
      AUDIENCE,
    ]);
    return { kind, subject, groups, ...certificate, scopes: [...scopes] };
  });
  closing.push(
    () => clientCertificates.close(),
    () => app.close(),
  );
  return Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
}

interface Answer {
  status: number;
  body: Record<string, unknown>;
  session: Buffer | undefined;
  reused: boolean;
}

/** One request over a connection of its own. */
async function ask(
  port: number,
  chain: readonly TestCertificate[],
  { headers = '', ...options }: ConnectionOptions & { headers?: string } = {},
): Promise<Answer> {
  const [leaf] = chain;
  const credentials = leaf
    ? { cert: chain.map(({ pem }) => pem).join(''), key: leaf.key.export({ type: 'pkcs8', format: 'pem' }) }
    : {};
  const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, ...credentials, ...options });
  let session: Buffer | undefined;
  socket.on('session', (data) => {
    session = data;
  });
  await once(socket, 'secureConnect');
  const reused = socket.isSessionReused();
  socket.write(`GET / HTTP/1.0\r\nHost: x\r\n${headers}\r\n`);
  let text = '';
  for await (const data of socket) text += String(data);
  const [head = '', body = ''] = text.split('\r\n\r\n');
  return {
    status: Number(head.split(' ')[1]),
    body: JSON.parse(body),
    session,
    reused,
  };
}

const who = async (port: number, chain: readonly TestCertificate[]) => (await ask(port, chain)).body;

describe('a caller with a client certificate', () => {
  it('is the end entity, behind any number of proxies', async () => {
    const port = await serve();
    const proxy = makeProxy(alice);
    const limited = makeProxy(proxy, { language: '1.3.6.1.4.1.3536.1.1.1.9' });
    expect(await who(port, [alice])).toMatchObject({ kind: 'certificate', subject: ALICE, proxies: 0 });
    expect(await who(port, [proxy, alice])).toMatchObject({ subject: ALICE, proxies: 1, limited: false });
    expect(await who(port, [limited, proxy, alice])).toMatchObject({ subject: ALICE, limited: true });
  });

  it('is anonymous with none, and with one that does not hold, and is told why', async () => {
    const port = await serve();
    const eve = makeCertificate({ subject: ALICE, by: other, extensions: USER });
    const none = await ask(port, []);
    expect([none.status, none.body.detail]).toEqual([401, expect.stringContaining('bearer token is needed')]);
    const refusals: [readonly TestCertificate[], RegExp][] = [
      [[eve, other], /not trusted/],
      [[makeProxy(alice, { subject: `${BASE}/CN=Bob/CN=1` }), alice], /does not extend/],
      [[makeProxy(alice, { notAfter: new Date(Date.now() - HOUR) }), alice], /has expired/],
      [[makeCertificate({ subject: `${ALICE}/CN=proxy`, by: alice, extensions: USER }), alice], /legacy/],
    ];
    for (const [chain, reason] of refusals) {
      const { status, body } = await ask(port, chain);
      expect([status, body.detail]).toEqual([401, expect.stringMatching(reason)]);
    }
  });

  it('is who the token says when both come, and nobody when the token is bad', async () => {
    const port = await serve();
    const token = await provider.token({ sub: 'carol', aud: AUDIENCE });
    const good = await ask(port, [alice], { headers: `Authorization: Bearer ${token}\r\n` });
    expect(good.body).toMatchObject({ kind: 'user', subject: 'carol' });
    expect((await ask(port, [alice], { headers: 'Authorization: Bearer a.b.c\r\n' })).status).toBe(401);
  });

  it('cannot be smuggled in by the headers with which proxies forward certificates', async () => {
    const port = await serve();
    const pem = encodeURIComponent(alice.pem);
    const headers = [
      `X-SSL-Client-S-DN: ${ALICE}`,
      'X-SSL-Client-Verify: SUCCESS',
      'SSL_CLIENT_VERIFY: SUCCESS',
      `SSL_CLIENT_S_DN: ${ALICE}`,
      `SSL_CLIENT_CERT: ${pem}`,
      `X-Client-Cert: ${pem}`,
      `X-Forwarded-Client-Cert: Subject="CN=Alice";Cert="${pem}"`,
      `X-Forwarded-Tls-Client-Cert: ${pem}`,
      `Client-Cert: :${alice.certificate.raw.toString('base64')}:`,
      `X-Remote-User: ${ALICE}`,
    ].map((header) => `${header}\r\n`);
    expect((await ask(port, [], { headers: headers.join('') })).status).toBe(401);
    expect((await ask(port, [bob], { headers: headers.join('') })).body).toMatchObject({
      subject: bob.subject,
    });
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'is the same in a session taken up again (%s)',
    async (version) => {
      const port = await serve();
      const options = { minVersion: version, maxVersion: version };
      const twice = async (to: number, chain: readonly TestCertificate[], second = chain) => {
        const { body, session } = await ask(to, chain, options);
        return [{ body }, await ask(to, second, { ...options, ...(session ? { session } : {}) })] as const;
      };
      const chain = [makeProxy(alice), alice];
      const [first, again] = await twice(port, chain);
      expect(first.body).toMatchObject({ subject: ALICE, proxies: 1 });
      expect(again).toMatchObject({ reused: false, body: { subject: ALICE, proxies: 1 } });
      // Somebody else with the session of Alice is not Alice.
      const [, thief] = await twice(port, chain, [bob]);
      expect(thief.body).toMatchObject({ subject: bob.subject, proxies: 0 });
      // Where nobody asks for certificates, sessions are taken up: the same client would have done it above.
      const plain = createListener({ log, tls: await certificate() });
      plain.get('/', async () => ({}));
      closing.push(() => plain.close());
      const plainPort = Number(new URL(await plain.listen({ host: '127.0.0.1', port: 0 })).port);
      expect((await twice(plainPort, chain))[1].reused).toBe(true);
    },
  );

  it('is gone when its certificate is revoked, on an open connection too, without a restart', async () => {
    const port = await serve({ lookMilliseconds: 20 });
    const socket = connect({
      host: '127.0.0.1',
      port,
      ca: authority.certificate,
      cert: alice.pem,
      key: alice.key.export({ type: 'pkcs8', format: 'pem' }),
    });
    await once(socket, 'secureConnect');
    const status = async () => {
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      const [data] = await once(socket, 'data');
      return Number(String(data).split(' ')[1]);
    };
    expect(await status()).toBe(200);
    writeFileSync(path.join(authorities, '0a1b2c3d.r0'), makeRevocationList(root, [alice]));
    await expect.poll(status).toBe(401);
    expect((await ask(port, [makeProxy(alice), alice])).body.detail).toMatch(/revoked/);
    expect((await ask(port, [bob])).status).toBe(200);
    socket.destroy();
  });

  it('is gone when its proxy ends, on an open connection too', async () => {
    let elapsed = 0;
    const clientCertificates = await createClientCertificates({
      authoritiesFolder: authorities,
      log,
      now: () => Date.now() + elapsed,
    });
    const app = createListener({
      log,
      tls: await certificate(),
      requestClientCertificate: true,
      clientCertificates: clientCertificates.at(AUDIENCE),
    });
    app.get('/', async (request) => {
      const early = await request.identifyClient?.();
      elapsed = 2 * HOUR;
      return { early: early !== undefined && 'principal' in early, late: await request.identifyClient?.() };
    });
    closing.push(
      () => clientCertificates.close(),
      () => app.close(),
    );
    const port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
    const body = await who(port, [makeProxy(alice, { notAfter: new Date(Date.now() + HOUR) }), alice]);
    expect(body).toMatchObject({ early: true, late: { refusal: {} } });
  });

  it('is gone when the installation has revoked its name', async () => {
    const revoked = new Set<string>();
    const port = await serve({
      revocations: {
        isRevoked: ({ issuer, subject }) => revoked.has(`${issuer} ${subject}`),
        close: () => undefined,
      },
    });
    expect((await ask(port, [alice])).status).toBe(200);
    revoked.add(`${root.subject} ${ALICE}`);
    expect((await ask(port, [makeProxy(alice), alice])).body.detail).toMatch(/was revoked here/);
  });
});

describe('what a caller with a certificate may do', () => {
  it('is nothing, unless the configuration grants it to the name or to a group', async () => {
    const attributes = (vo: string, ...fqans: string[]) => [
      makeProxy(alice, { extensions: [makeVomsExtension({ holder: alice, by: server, vo, fqans })] }),
      alice,
    ];
    const port = await serve({
      grants: [
        { subject: bob.subject, scopes: ['compute.read'] },
        { group: '/drought', scopes: ['storage.read:/', 'fts'] },
        { group: '/drought/ops/Role=production', scopes: ['storage.modify:/'] },
        { group: '/drought', audiences: ['https://other.test'], scopes: ['compute.create'] },
        { group: '/drought', audiences: [AUDIENCE], scopes: ['storage.stage:/'] },
      ],
    });
    const scopes = async (chain: readonly TestCertificate[]) => (await who(port, chain)).scopes;
    expect(await scopes([alice])).toEqual([]);
    expect(await scopes([makeProxy(bob), bob])).toEqual(['compute.read']);
    expect(await scopes(attributes('drought', '/drought'))).toEqual([
      'storage.read:/',
      'fts',
      'storage.stage:/',
    ]);
    const production = attributes('drought', '/drought/ops/Role=production/Capability=NULL');
    expect(await scopes(production)).toEqual(['storage.modify:/']);
    expect(await scopes(attributes('drought', '/drought/ops/Role=other'))).toEqual([]);
  });
});

describe('the folder of authorities', () => {
  it('says by signing policy and namespaces whom an authority may vouch for; all that are there must agree', async () => {
    const port = await serve({ lookMilliseconds: 20 });
    const status = async () => (await ask(port, [makeProxy(alice), alice])).status;
    const policy = (pattern: string) =>
      writeFileSync(
        path.join(authorities, '0a1b2c3d.signing_policy'),
        `# IGTF\naccess_id_CA   X509   '${root.subject}'\npos_rights     globus CA:sign\n` +
          `cond_subjects  globus '"/DC=com/*" "${pattern}"'\n`,
      );
    const namespaces = (...lines: string[]) =>
      writeFileSync(path.join(authorities, 'Root.namespaces'), `# EUGridPMA\n${lines.join('\n')}\n`);
    expect(await status()).toBe(200);
    policy('/DC=org/DC=elsewhere/*');
    await expect.poll(status).toBe(401);
    policy('/DC=org/DC=example/*');
    await expect.poll(status).toBe(200);
    namespaces(`TO Issuer "${root.subject}" \\`, '  PERMIT Subject "/DC=org/DC=example/CN=B.*"');
    await expect.poll(status).toBe(401);
    namespaces('TO Issuer SELF PERMIT Subject "/DC=org/.*"');
    await expect.poll(status).toBe(200);
    namespaces('TO Issuer SELF PERMIT Subject "/DC=org/.*"', 'TO Issuer SELF DENY Subject ".*/CN=Alice"');
    await expect.poll(status).toBe(401);
    namespaces('TO Issuer SELF PERMIT Subject "/DC=org/(unclosed"');
    expect(await status()).toBe(401);
  });

  it('gets a new authority at the next look; a file that is no certificate does no harm', async () => {
    const port = await serve({ lookMilliseconds: 20 });
    const eve = makeCertificate({ subject: `${BASE}/CN=Eve`, by: other, extensions: USER });
    expect((await ask(port, [eve])).status).toBe(401);
    writeFileSync(
      path.join(authorities, 'broken.pem'),
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    );
    writeFileSync(path.join(authorities, 'Other.pem'), other.pem);
    await expect.poll(async () => (await ask(port, [eve])).status).toBe(200);
    expect((await ask(port, [alice])).status).toBe(200);
  });

  it('with a broken or partial revocation list trusts nothing that could be on it', async () => {
    const partial = extension('2.5.29.28', true, sequence());
    for (const list of [Buffer.from('nonsense'), makeRevocationList(root, [], { extensions: [partial] })]) {
      writeFileSync(path.join(authorities, '0a1b2c3d.r0'), list);
      expect((await ask(await serve(), [alice])).body.detail).toMatch(/revocation list .* too old/);
    }
  });

  it('must be there at the start', async () => {
    await expect(serve({ authoritiesFolder: '/nowhere' })).rejects.toThrow(/ENOENT/);
  });
});

describe('VOMS attributes', () => {
  const withAttributes = (changes: Partial<WantedAttributes> = {}, of = alice) => [
    makeProxy(of, {
      extensions: [
        makeVomsExtension({
          holder: of,
          by: server,
          vo: 'drought',
          fqans: ['/drought/Role=NULL/Capability=NULL', '/drought/ops/Role=production/Capability=NULL'],
          ...changes,
        }),
      ],
    }),
    of,
  ];

  it('make groups and roles', async () => {
    const expected = {
      subject: ALICE,
      vo: 'drought',
      fqans: ['/drought', '/drought/ops/Role=production'],
      groups: ['/drought', '/drought/ops'],
    };
    const port = await serve();
    expect(await who(port, withAttributes())).toMatchObject(expected);
    // A proxy of that proxy has them too, and so has one whose attributes name the holder as old tools do.
    const [proxy = alice] = withAttributes();
    expect(await who(port, [makeProxy(proxy), proxy, alice])).toMatchObject({ ...expected, proxies: 2 });
    expect(await who(port, withAttributes({ holderIssuer: ALICE }))).toMatchObject(expected);
  });

  it('count when the certificate of the server is in the folder, or when its names and those of its authorities are', async () => {
    lsc('drought', [other.subject, root.subject]);
    writeFileSync(path.join(voms, 'drought', 'server.pem'), server.pem);
    const port = await serve();
    expect(await who(port, withAttributes({ certificates: [] }))).toMatchObject({ vo: 'drought' });
    rmSync(path.join(voms, 'drought', 'server.pem'));
    lsc('drought', [other.subject, root.subject, '------ NEXT CHAIN ------', server.subject, root.subject]);
    expect(await who(await serve(), withAttributes())).toMatchObject({ vo: 'drought' });
  });

  it('that are meant for some hosts count there alone', async () => {
    const port = await serve({ hosts: ['se.example.org'] });
    expect(await who(port, withAttributes({ targets: ['fts.example.org', 'SE.example.org'] }))).toMatchObject(
      {
        vo: 'drought',
      },
    );
    expect(await who(port, withAttributes({ targets: ['fts.example.org'] }))).toMatchObject({ fqans: [] });
  });

  const stranger = makeCertificate({ subject: server.subject, by: other, extensions: USER });
  const bad: [what: string, chain: readonly TestCertificate[], reason: RegExp][] = [
    ['signed by another key', withAttributes({ by: { ...server, key: bob.key } }), /signature is wrong/],
    [
      'of a server of an unknown authority',
      withAttributes({ by: stranger }),
      /of their server .* issuer is not known/,
    ],
    ['of somebody who is no server of the VO', withAttributes({ by: bob }), /is not a server of this VO/],
    ['that name another server', withAttributes({ issuer: bob.subject }), /signature is wrong/],
    ['of somebody else', withAttributes({ holder: bob }), /belong to somebody else/],
    ['with another serial number', withAttributes({ holderSerial: Buffer.of(7) }), /belong to somebody else/],
    ['with another issuer', withAttributes({ holderIssuer: other.subject }), /belong to somebody else/],
    [
      'that have expired',
      withAttributes({ notBefore: new Date(Date.now() - 2 * HOUR), notAfter: new Date(Date.now() - HOUR) }),
      /have expired/,
    ],
    ['that are not valid yet', withAttributes({ notBefore: new Date(Date.now() + HOUR) }), /not valid yet/],
    ['of an unknown VO', withAttributes({ vo: 'flood', fqans: ['/flood'] }), /VO flood is not known/],
    [
      'of one VO in the name of another',
      withAttributes({ fqans: ['/drought', '/flood'] }),
      /not those of the VO/,
    ],
    ['whose VO is a path', withAttributes({ vo: '..', fqans: ['/..'] }), /name no VO/],
    ['that are none', withAttributes({ fqans: [] }), /there are none/],
    [
      'with an unknown critical extension',
      withAttributes({ extensions: [extension('1.2.3.4', true, sequence())] }),
      /1\.2\.3\.4 is not understood/,
    ],
    [
      'that are malformed',
      [
        makeProxy(alice, {
          extensions: [extension('1.3.6.1.4.1.8005.100.100.5', false, sequence(sequence(sequence())))],
        }),
        alice,
      ],
      /malformed/,
    ],
  ];

  let lenient: number;
  let strict: number;
  beforeAll(async () => {
    makeTrust();
    lenient = await serve();
    strict = await serve({ requireValidAttributes: true });
  });

  it.each(bad)('%s are left out, or refuse the caller where they must hold', async (_what, chain, reason) => {
    expect(await who(lenient, chain)).toMatchObject({ subject: ALICE, groups: [], fqans: [] });
    const { status, body } = await ask(strict, chain);
    expect([status, body.detail]).toEqual([401, expect.stringMatching(reason)]);
  });

  it('of a revoked server are left out', async () => {
    writeFileSync(path.join(authorities, '0a1b2c3d.r0'), makeRevocationList(root, [server]));
    expect(await who(await serve(), withAttributes())).toMatchObject({ subject: ALICE, fqans: [] });
  });

  it('are not looked at without a folder of servers', async () => {
    expect(await who(await serve({ vomsFolder: undefined }), withAttributes())).toMatchObject({ fqans: [] });
  });

  it('end before the proxy does, and take nothing else with them', async () => {
    const soon = new Date(Date.now() + HOUR);
    let elapsed = 0;
    const port = await serve({ now: () => Date.now() + elapsed });
    const chain = withAttributes({ notAfter: soon });
    expect(await who(port, chain)).toMatchObject({ vo: 'drought' });
    elapsed = 2 * HOUR;
    expect(await who(port, chain)).toMatchObject({ subject: ALICE, fqans: [] });
  });
});
