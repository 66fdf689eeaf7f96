import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { AUTHORITY, BASE, type Certificates, createCertificates, PAST, PROXY, USER } from './certificates.ts';
import { type Service, startService } from './service.ts';

const ALICE = `${BASE}/CN=Alice`;

/**
 * Chains of certificates get the same verdict from `openssl verify` and from a storage that curl shows them to, apart from
 * the table in docs/client-certificates.md; Debian's VOMS tools make proxies whose attributes count.
 */
const peer: Peer = {
  name: 'voms',
  components: ['identity', 'storage'],
  async install(tools) {
    await tools.needCommand('voms-proxy-fake', ['voms-clients']);
    await tools.needCommand('openssl', ['openssl']);
    await tools.needCommand('curl', ['curl', 'ca-certificates']);
  },

  async quick(suite) {
    const certificates = createCertificates(suite);
    await makeAll(certificates);
    const service = await startService(suite, certificates);
    try {
      const site = { suite, certificates, service };
      for (const [what, names, good] of CHAINS)
        await suite.check(`${what}: ${good ? 'taken' : 'refused'}, as by OpenSSL`, async () => {
          expectEqual(await certificates.opensslTakes(names), good, 'OpenSSL');
          expectEqual(await weftTakes(site, names), good, 'Weft');
        });
      for (const [difference, names] of STRICTER)
        await suite.check(`${difference}: OpenSSL takes it, Weft does not`, async () => {
          expectEqual(
            await certificates.opensslTakes(
              names,
              difference === 'CRL of a proxy' ? '-crl_check' : undefined,
            ),
            true,
            'OpenSSL',
          );
          expectEqual(await weftTakes(site, names), false, 'Weft');
        });
      await suite.check('no revocation list: Weft takes it, OpenSSL does not', async () => {
        expectEqual(await certificates.opensslTakes(['listless-user']), false, 'OpenSSL');
        expectEqual(await weftTakes(site, ['listless-user']), true, 'Weft');
      });
      await suite.check('the documentation lists these differences and no others', async () => {
        const page = readFileSync(
          path.resolve(import.meta.dirname, '..', '..', 'docs', 'client-certificates.md'),
          'utf8',
        );
        const rows = [...page.slice(page.indexOf('| difference')).matchAll(/^\| (.+?)\s*\|/gm)];
        const shown = [...STRICTER.map(([name]) => name), 'no revocation list', 'VOMS attributes'];
        expectEqual(
          rows
            .map(([, name]) => name)
            .slice(2)
            .sort(),
          shown.sort(),
          'rows of the table',
        );
      });
      await vomsAttributes(site);
      await sessions(site);
      await accountLinking(site);
    } finally {
      await service.stop();
    }
  },

  async full(suite) {
    await suite.check('the authorities of the grid are read, and lead to their roots by their policies', () =>
      gridAuthorities(suite),
    );
  },
};

/** Every authority that the grid trusts, as Debian packages the IGTF's distribution. */
async function gridAuthorities({ tools, folder }: Suite): Promise<void> {
  const packages = ['classic', 'mics', 'slcs', 'iota'].map((profile) => `igtf-policy-${profile}`);
  await tools.needPackages(packages);
  const target = path.join(folder, 'igtf');
  mkdirSync(target);
  const source = '/usr/share/igtf-policy';
  for (const profile of readdirSync(source, { withFileTypes: true }))
    if (profile.isDirectory())
      cpSync(path.join(source, profile.name), target, { recursive: true, dereference: true });
  const program = path.resolve(import.meta.dirname, '../../packages/kernel/test/judge-authorities.ts');
  const { stdout } = await tools.succeed(process.execPath, [program, target]);
  const judged = judgedSchema.parse(JSON.parse(stdout));
  expectEqual(judged.unreadable, [], 'files that cannot be read');
  expectEqual(judged.authorities > 50 && judged.roots > 20, true, `${judged.authorities} authorities`);
  const broken = judged.refused.filter((line) => !line.includes('it has expired'));
  expectEqual(broken, [], 'authorities without a way to a root');
}

const judgedSchema = z.object({
  authorities: z.number(),
  roots: z.number(),
  unreadable: z.array(z.unknown()),
  refused: z.array(z.string()),
});

export default peer;

interface Site {
  readonly suite: Suite;
  readonly certificates: Certificates;
  readonly service: Service;
}

/** Leaf first. */
const CHAINS: readonly [what: string, names: readonly string[], good: boolean][] = [
  ['a user certificate', ['alice'], true],
  ['a proxy', ['proxy', 'alice'], true],
  ['a proxy of a proxy', ['second', 'proxy', 'alice'], true],
  ['a limited proxy', ['limited', 'alice'], true],
  ['a user below an intermediate authority', ['carol', 'middle'], true],
  ['a proxy with the name of somebody else', ['wrong-name', 'alice'], false],
  ['more proxies than one allows', ['child', 'childless', 'alice'], false],
  ['an expired proxy', ['old-proxy', 'alice'], false],
  ['an expired user certificate', ['old'], false],
  ['a proxy of an expired user certificate', ['proxy-of-old', 'old'], false],
  ['a revoked user certificate', ['revoked'], false],
  ['a proxy of a revoked user certificate', ['proxy-of-revoked', 'revoked'], false],
  ['an unknown authority', ['eve', 'stranger'], false],
  ['a proxy of a user certificate with the flag of an authority', ['proxy-of-flagged', 'flagged'], false],
  ['a legacy proxy', ['legacy', 'alice'], false],
  ['a user certificate made by a user', ['mallory', 'alice'], false],
  ['a piece missing', ['second', 'alice'], false],
];

/** Rows of the table in docs/client-certificates.md. */
const STRICTER: readonly [difference: string, names: readonly string[]][] = [
  ['short key', ['weak-proxy', 'alice']],
  ['weak digest', ['weak-digest']],
  ['authority as caller', ['flagged']],
  ['independent proxy', ['independent', 'alice']],
  ['unknown language', ['unknown-language', 'alice']],
  ['signing policy', ['outside']],
  ['name constraints', ['constrained-user', 'constrained']],
  ['CRL of a proxy', ['proxy-of-revoked', 'revoked']],
];

async function makeAll(certificates: Certificates): Promise<void> {
  const { make } = certificates;
  const user = (name: string, cn: string, more = {}) =>
    make(name, { subject: `${BASE}/CN=${cn}`, by: 'root', extensions: USER, ...more });
  const proxy = (name: string, of: string, by: string, more = {}) =>
    make(name, { subject: `${of}/CN=${name.length}`, by, extensions: PROXY, ...more });
  const language = (name: string) =>
    `keyUsage=critical,digitalSignature\nproxyCertInfo=critical,language:${name}`;

  // voms-proxy-fake makes proxies with RSA keys alone, and with SHA-1 when the authority has no RSA key.
  await make('root', { subject: `${BASE}/CN=Root`, extensions: AUTHORITY, rsaBits: 2048 });
  await make('stranger', { subject: `${BASE}/CN=Stranger`, extensions: AUTHORITY });
  await make('listless', { subject: `${BASE}/CN=Listless`, extensions: AUTHORITY });
  await user('alice', 'Alice', { rsaBits: 2048 });
  await user('voms', 'voms.example.org', { rsaBits: 2048 });
  await user('impostor', 'voms.example.com', { rsaBits: 2048 });
  await user('old', 'Old', { notAfter: PAST });
  await user('revoked', 'Revoked');
  await user('outside', 'Outside', { subject: '/DC=org/DC=elsewhere/CN=Outside' });
  await user('weak-digest', 'Weak', { digest: 'sha1' });
  await user('flagged', 'Flagged', {
    extensions: `${AUTHORITY.replace('keyCertSign', 'digitalSignature,keyCertSign')}`,
  });
  await user('middle', 'Middle', { extensions: AUTHORITY });
  await user('constrained', 'Constrained', {
    extensions: `${AUTHORITY}\nnameConstraints=critical,permitted;DNS:example.org`,
  });
  await user('carol', 'Carol', { by: 'middle' });
  await user('constrained-user', 'Dave', { by: 'constrained' });
  await user('listless-user', 'Frank', { by: 'listless' });
  await user('eve', 'Alice', { by: 'stranger' });
  await user('mallory', 'Mallory', { by: 'alice' });
  await proxy('proxy', ALICE, 'alice');
  await proxy('second', `${ALICE}/CN=5`, 'proxy');
  await proxy('limited', ALICE, 'alice', { extensions: language('1.3.6.1.4.1.3536.1.1.1.9') });
  await proxy('independent', ALICE, 'alice', { extensions: language('id-ppl-independent') });
  await proxy('unknown-language', ALICE, 'alice', { extensions: language('1.2.3.4') });
  await proxy('wrong-name', `${BASE}/CN=Bob`, 'alice');
  await proxy('childless', ALICE, 'alice', { extensions: `${PROXY},pathlen:0` });
  await proxy('child', `${ALICE}/CN=9`, 'childless');
  await proxy('old-proxy', ALICE, 'alice', { notAfter: PAST });
  await proxy('proxy-of-old', `${BASE}/CN=Old`, 'old');
  await proxy('proxy-of-revoked', `${BASE}/CN=Revoked`, 'revoked');
  await proxy('proxy-of-flagged', `${BASE}/CN=Flagged`, 'flagged');
  await proxy('weak-proxy', ALICE, 'alice', { rsaBits: 1024 });
  await make('legacy', {
    subject: `${ALICE}/CN=proxy`,
    by: 'alice',
    extensions: 'keyUsage=critical,digitalSignature',
  });

  writeFileSync(certificates.file('lenient.cnf'), LENIENT);
  await certificates.trust('root', '/DC=org/DC=example/*');
  await certificates.trust('listless', '/DC=org/DC=example/*');
  await certificates.revoke('root', 'revoked');
  for (const authority of ['root', 'middle', 'constrained']) await certificates.publishRevocations(authority);
  mkdirSync(path.join(certificates.vomsServers, 'drought'));
  writeFileSync(
    path.join(certificates.vomsServers, 'drought', 'voms.example.org.lsc'),
    `${BASE}/CN=voms.example.org\n${BASE}/CN=Root\n`,
  );
}

/** Else curl itself would not show a short key or SHA-1. */
const LENIENT = `openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = lenient
[lenient]
CipherString = DEFAULT@SECLEVEL=0
`;

async function curl({ suite, certificates }: Site, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await suite.tools.run(
    'curl',
    ['--silent', '--show-error', '--cacert', suite.instance.endpoints.ca, ...args],
    { env: { OPENSSL_CONF: certificates.file('lenient.cnf') } },
  );
  if (stderr !== '') throw new Error(stderr);
  return stdout;
}

const status = (site: Site, ...args: string[]) =>
  curl(site, '--output', '/dev/null', '--write-out', '%{http_code}', ...args);

/** Anonymous callers get 401; who is known gets what the grants give, or 403. */
async function weftTakes(site: Site, names: readonly string[]): Promise<boolean> {
  const { certificates, service } = site;
  const key = certificates.file(`${names[0]}.key`);
  const code = await status(site, '--cert', certificates.chain(names), '--key', key, `${service.storage}/`);
  if (!['200', '401', '403'].includes(code)) throw new Error(`GET with ${names.join(', ')}: ${code}`);
  return code !== '401';
}

/** Makes a proxy file with Debian's tool; its AC is signed by `server`. */
async function makeVomsProxy(
  { suite, certificates }: Site,
  name: string,
  options: { server?: string; vo?: string; fqans?: readonly string[]; more?: readonly string[] } = {},
): Promise<string> {
  const { server = 'voms', vo = 'drought', more = [] } = options;
  const fqans = options.fqans ?? [`/${vo}/Role=NULL/Capability=NULL`];
  const target = certificates.file(`${name}.proxy`);
  await suite.tools.succeed('voms-proxy-fake', [
    ...['-cert', certificates.file('alice.pem'), '-key', certificates.file('alice.key'), '-rfc', '-quiet'],
    ...['-certdir', certificates.authorities, '-voms', vo, '-uri', 'voms.example.org:15000', '-out', target],
    ...['-hostcert', certificates.file(`${server}.pem`), '-hostkey', certificates.file(`${server}.key`)],
    ...fqans.flatMap((fqan) => ['-fqan', fqan]),
    ...more,
  ]);
  return target;
}

/** The verdict about a file as VOMS writes it: proxy, key, user certificate. */
async function opensslTakesFile({ suite, certificates }: Site, file: string): Promise<boolean> {
  const { code } = await suite.tools.run('openssl', [
    ...['verify', '-allow_proxy_certs', '-purpose', 'sslclient', '-crl_check_all'],
    ...['-CApath', certificates.authorities, '-untrusted', file, file],
  ]);
  return code === 0;
}

async function vomsAttributes(site: Site): Promise<void> {
  const { suite, certificates, service } = site;
  const file = certificates.file('root.pem');
  const put = (proxy: string, name: string) =>
    status(site, '--cert', proxy, '--upload-file', file, `${service.storage}/${name}`);
  const remove = (proxy: string, name: string) =>
    status(site, '--cert', proxy, '-X', 'DELETE', `${service.storage}/${name}`);

  await suite.check('a proxy of voms-proxy-fake: OpenSSL and Weft take it; its groups count', async () => {
    const proxy = await makeVomsProxy(site, 'member');
    expectEqual(await opensslTakesFile(site, proxy), true, 'OpenSSL');
    expectEqual(await put(proxy, 'a'), '201', 'PUT by the group');
    expectEqual(await remove(proxy, 'a'), '403', 'DELETE, which takes a role');
    const plain = ['--cert', certificates.chain(['alice']), '--key', certificates.file('alice.key')];
    const upload = [...plain, '--upload-file', file, `${service.storage}/b`];
    expectEqual(await status(site, ...upload), '403', 'PUT without attributes');
  });
  await suite.check('a role counts beside its group', async () => {
    const fqans = ['/drought/Role=NULL/Capability=NULL', '/drought/ops/Role=production/Capability=NULL'];
    const proxy = await makeVomsProxy(site, 'production', { fqans });
    expectEqual(await put(proxy, 'c'), '201', 'PUT');
    expectEqual(await remove(proxy, 'c'), '204', 'DELETE');
  });
  const bad = {
    'of another server': { server: 'impostor' },
    'of a VO that nobody knows': { vo: 'flood' },
    'of another VO': { fqans: ['/flood'] },
    'that have expired': { more: ['-pastac', '72000'] },
  };
  for (const [what, options] of Object.entries(bad))
    await suite.check(`VOMS attributes ${what}: OpenSSL takes the proxy, Weft takes it without`, async () => {
      const proxy = await makeVomsProxy(site, what.replaceAll(' ', '-'), options);
      expectEqual(await opensslTakesFile(site, proxy), true, 'OpenSSL');
      expectEqual(await put(proxy, 'd'), '403', 'PUT');
      expectEqual(await status(site, '--cert', proxy, `${service.storage}/`), '200', 'GET');
    });
  await suite.check('names of certificates in headers are nobody’s', async () => {
    const forged = ['X-SSL-Client-S-DN', 'SSL_CLIENT_S_DN', 'X-Client-Cert', 'X-Forwarded-Client-Cert'];
    const headers = forged.flatMap((name) => ['--header', `${name}: ${ALICE}`]);
    expectEqual(await status(site, ...headers, `${service.storage}/`), '401', 'GET');
  });
}

async function sessions({ suite, certificates, service }: Site): Promise<void> {
  const { host } = new URL(service.storage);
  for (const version of ['-tls1_2', '-tls1_3'])
    await suite.check(
      `openssl s_client ${version}: a session taken up again is the same caller`,
      async () => {
        const session = certificates.file(`session${version}`);
        const ask = async (...more: string[]) => {
          const { stdout } = await suite.tools.run(
            'openssl',
            [
              ...['s_client', '-connect', host, version, '-ign_eof', '-CAfile', suite.instance.endpoints.ca],
              ...['-cert', certificates.file('proxy.pem'), '-key', certificates.file('proxy.key')],
              ...['-cert_chain', certificates.file('alice.pem'), ...more],
            ],
            { input: `GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`, timeoutSeconds: 60 },
          );
          return stdout;
        };
        expectMatch(await ask('-sess_out', session), /HTTP\/1\.1 200/, 'first');
        const again = await ask(...(existsSync(session) ? ['-sess_in', session] : []));
        expectMatch(again, /HTTP\/1\.1 200/, 'again');
        expectEqual(/Reused, TLS/.test(again), false, 'whether the session was taken up');
      },
    );
}

async function accountLinking(site: Site): Promise<void> {
  const { suite, certificates, service } = site;
  await suite.check('the ALISE API knows a service by its certificate, and nobody else', async () => {
    const subject = 'api/v1/target/hpc/mapping/issuer/https%3A%2F%2Fcommunity.example/user/ab12';
    const url = `${service.linking}/${subject}`;
    const as = (names: readonly string[]) => [
      ...['--cert', certificates.chain(names), '--key', certificates.file(`${names[0]}.key`)],
    ];
    expectMatch(await curl(site, ...as(['proxy', 'alice']), url), /"username":"alice01"/, 'look-up');
    expectEqual(await status(site, ...as(['carol', 'middle']), url), '401', 'somebody without the grant');
    // As the original answers whoever shows nothing: its parameter `apikey` is missing.
    expectEqual(await status(site, ...as(['revoked']), url), '422', 'somebody revoked');
    expectEqual(await status(site, url), '422', 'nobody');
  });
}
