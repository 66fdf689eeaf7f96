import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  AUTHORITY,
  basicConstraints,
  der,
  extension,
  keyUsage,
  makeCertificate,
  makeProxy,
  makeRevocationList,
  objectIdentifier,
  sequence,
  type TestCertificate,
  USER,
} from '../../testing/test-certificates.ts';
import { readRevocationList } from './revocation-list.ts';
import { readSigningPolicy } from './signing-policy.ts';
import { validateChain } from './validate-chain.ts';

const BASE = '/DC=org/DC=example';
const ALICE = `${BASE}/CN=Alice`;
const PAST = new Date('2021-01-01');
const user = (name: string, by: TestCertificate, more = {}) =>
  makeCertificate({ subject: `${BASE}/CN=${name}`, by, extensions: USER, ...more });
const authority = (name: string, more = {}) =>
  makeCertificate({ subject: `${BASE}/CN=${name}`, extensions: AUTHORITY, ...more });

const root = authority('Root');
const alice = user('Alice', root);
const proxy = makeProxy(alice);
const second = makeProxy(proxy);
const limited = makeProxy(alice, { language: '1.3.6.1.4.1.3536.1.1.1.9' });
const belowLimited = makeProxy(limited);
const wrongName = makeProxy(alice, { subject: `${BASE}/CN=Bob/CN=1` });
const childless = makeProxy(alice, { pathLength: 0 });
const old = user('Old', root, { notBefore: new Date('2020-01-01'), notAfter: PAST });
const early = user('Early', root, { notBefore: new Date('2039-01-01'), notAfter: new Date('2040-01-01') });
const revoked = user('Revoked', root);
const stranger = authority('Stranger');
const flagged = authority('Flagged', { by: root, extensions: [basicConstraints(true), keyUsage(0, 5, 6)] });
const legacy = makeCertificate({ subject: `${ALICE}/CN=proxy`, by: alice, extensions: [keyUsage(0)] });
const dnsName = extension('2.5.29.17', false, sequence(der(0x82, Buffer.from('a.example'))));
const serverOnly = extension('2.5.29.37', false, sequence(objectIdentifier('1.3.6.1.5.5.7.3.1')));
const middle = authority('Middle', { by: root, extensions: [basicConstraints(true, 0), keyUsage(5, 6)] });
const belowMiddle = authority('Lower', { by: middle });
const constraints = extension(
  '2.5.29.30',
  true,
  sequence(der(0xa0, sequence(der(0x82, Buffer.from('example'))))),
);
const constrained = authority('Constrained', { by: root, extensions: [...AUTHORITY, constraints] });
const impostor = { ...alice, key: stranger.key };

const lists = [
  makeRevocationList(root, [revoked]),
  ...[middle, belowMiddle, constrained, stranger].map((each) => makeRevocationList(each, [])),
];

const judge = (chain: readonly TestCertificate[], trust = {}) =>
  validateChain(
    chain.map(({ certificate }) => certificate),
    { anchors: [root.certificate], revocationLists: lists.map(readRevocationList), ...trust },
  );

const folder = mkdtempSync(path.join(tmpdir(), 'weft-x509-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => path.join(folder, name);
const pemList = (list: Buffer) => {
  const lines = list.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN X509 CRL-----', ...lines, '-----END X509 CRL-----', ''].join('\n');
};
writeFileSync(file('root.pem'), root.pem);
writeFileSync(file('lists.pem'), lists.map(pemList).join(''));

/** Where OpenSSL is not installed, only our own verdicts are looked at. */
const hasOpenssl = spawnSync('openssl', ['version']).error === undefined;

function opensslAccepts(chain: readonly TestCertificate[], check = '-crl_check_all'): boolean {
  const [leaf, ...rest] = chain;
  writeFileSync(file('leaf.pem'), leaf?.pem ?? '');
  writeFileSync(file('sent.pem'), rest.map(({ pem }) => pem).join(''));
  // OpenSSL takes no empty file.
  const untrusted = rest.length > 0 ? ['-untrusted', 'sent.pem'] : [];
  const how = ['-allow_proxy_certs', '-purpose', 'sslclient', check, '-CRLfile', 'lists.pem'];
  const run = spawnSync('openssl', ['verify', ...how, '-CAfile', 'root.pem', ...untrusted, 'leaf.pem'], {
    cwd: folder,
  });
  return run.status === 0;
}

const CHAINS: [what: string, chain: readonly TestCertificate[], good: boolean][] = [
  ['a user certificate', [alice], true],
  ['a proxy', [proxy, alice], true],
  ['a proxy of a proxy', [second, proxy, alice], true],
  ['a proxy with the whole way sent', [proxy, alice, root], true],
  ['a limited proxy', [limited, alice], true],
  ['a user below an intermediate authority', [user('Carol', middle), middle], true],
  ['a proxy whose name is another one’s', [wrongName, alice], false],
  ['a proxy that another key has signed', [makeProxy(impostor), alice], false],
  ['more proxies than one allows', [makeProxy(childless), childless, alice], false],
  [
    'an expired proxy',
    [makeProxy(alice, { notAfter: PAST, notBefore: new Date('2020-01-01') }), alice],
    false,
  ],
  ['an expired user certificate', [old], false],
  ['a proxy of an expired user certificate', [makeProxy(old), old], false],
  ['a certificate that is not valid yet', [early], false],
  ['a revoked certificate', [revoked], false],
  ['a proxy of a revoked certificate', [makeProxy(revoked), revoked], false],
  ['a user of an unknown authority', [user('Eve', stranger), stranger], false],
  [
    'a user of an authority with the name of a trusted one',
    [user('Eve', { ...stranger, subject: root.subject })],
    false,
  ],
  ['a certificate that signed itself', [makeCertificate({ subject: ALICE, extensions: USER })], false],
  ['a chain with a piece missing', [second, alice], false],
  ['a proxy of a user certificate that is an authority', [makeProxy(flagged), flagged], false],
  ['a legacy proxy', [legacy, alice], false],
  ['a proxy with alternative names', [makeProxy(alice, { extensions: [dnsName] }), alice], false],
  ['a user certificate made by a user', [user('Mallory', alice), alice], false],
  ['more authorities than one allows', [user('Deep', belowMiddle), belowMiddle, middle], false],
  ['a certificate for servers alone', [user('Server', root, { extensions: [...USER, serverOnly] })], false],
  ['a key that may not sign', [user('Mute', root, { extensions: [keyUsage(2)] })], false],
  [
    'an unknown critical extension',
    [user('Odd', root, { extensions: [...USER, extension('1.2.3.4', true, sequence())] })],
    false,
  ],
];

/** One row of the table in docs/client-certificates.md: OpenSSL takes it, we do not. */
const STRICTER: [difference: string, chain: readonly TestCertificate[], reason: RegExp, trust?: object][] = [
  ['short key', [makeProxy(alice, { rsaBits: 1024 }), alice], /fewer than 2048 bits/],
  ['weak digest', [user('Weak', root, { digest: 'sha1' })], /MD5 or SHA-1/],
  ['authority as caller', [flagged], /nobody’s identity/],
  ['independent proxy', [makeProxy(alice, { language: '1.3.6.1.5.5.7.21.2' }), alice], /none of its user’s/],
  ['unknown language', [makeProxy(alice, { language: '1.2.3.4' }), alice], /unknown policy language/],
  [
    'signing policy',
    [alice],
    /signing policy/,
    {
      maySign: (_: unknown, subject: string) =>
        readSigningPolicy(
          `access_id_CA X509 '${BASE}/CN=Root'\npos_rights globus CA:sign\ncond_subjects globus '"/DC=com/*"'`,
        ).permits(root.subject, subject),
    },
  ],
  [
    'name constraints',
    [user('Constrained user', constrained), constrained],
    /2\.5\.29\.30 is not understood/,
  ],
];
/** Rows that are shown in other ways, below and in client-certificates.test.ts. */
const OTHER_ROWS = ['CRL of a proxy', 'no revocation list', 'VOMS attributes'];

describe('chains of certificates', () => {
  it.each(CHAINS)('%s: the same verdict as OpenSSL', (_what, chain, good) => {
    if (hasOpenssl) expect(opensslAccepts(chain)).toBe(good);
    if (good) expect(judge(chain).subject).toMatch(/^\/DC=org\/DC=example\/CN=(Alice|Carol)$/);
    else expect(() => judge(chain)).toThrow(/client certificate is not valid/);
  });

  it.each(STRICTER)('%s: refused, although OpenSSL takes it', (_what, chain, reason, trust) => {
    if (hasOpenssl) expect(opensslAccepts(chain)).toBe(true);
    expect(() => judge(chain, trust)).toThrow(reason);
  });

  it('CRL of a proxy: OpenSSL looks at the leaf, we look at its user', () => {
    const chain = [makeProxy(revoked), revoked];
    if (hasOpenssl) expect(opensslAccepts(chain, '-crl_check')).toBe(true);
    expect(() => judge(chain)).toThrow(/was revoked/);
  });

  it('no revocation list: taken, unless lists are required; an old one is as good as none', () => {
    const bare = { revocationLists: [] };
    if (hasOpenssl) {
      writeFileSync(file('none.pem'), pemList(makeRevocationList(stranger, [])));
      const how = ['-crl_check_all', '-CRLfile', 'none.pem', '-CAfile', 'root.pem', 'leaf.pem'];
      writeFileSync(file('leaf.pem'), alice.pem);
      expect(spawnSync('openssl', ['verify', ...how], { cwd: folder }).status).not.toBe(0);
    }
    expect(judge([alice], bare).subject).toBe(ALICE);
    expect(() => judge([alice], { ...bare, requireRevocationLists: true })).toThrow(/has no revocation list/);
    const stale = readRevocationList(makeRevocationList(root, [], { nextUpdate: PAST }));
    expect(() => judge([alice], { revocationLists: [stale] })).toThrow(/too old/);
    const forged = readRevocationList(makeRevocationList(root, [], { by: stranger }));
    expect(() => judge([revoked], { revocationLists: [forged] })).toThrow(/too old/);
  });

  it('differ from OpenSSL’s verdict in what the documentation lists, and in nothing else', () => {
    const page = readFileSync(new URL('../../../../../docs/client-certificates.md', import.meta.url), 'utf8');
    const table = page.slice(page.indexOf('| difference'));
    const rows = [...table.matchAll(/^\| (.+?)\s*\|/gm)].map(([, name]) => name).slice(2);
    expect(rows.sort()).toEqual([...STRICTER.map(([name]) => name), ...OTHER_ROWS].sort());
  });

  it('tell who it is, how many proxies stand between, and that limited stays limited', () => {
    expect(judge([second, proxy, alice])).toMatchObject({ subject: ALICE, proxies: 2, limited: false });
    expect(judge([belowLimited, limited, alice])).toMatchObject({ subject: ALICE, limited: true });
    expect(judge([alice])).toMatchObject({ issuer: `${BASE}/CN=Root`, proxies: 0 });
  });

  it('last as long as the shortest of their parts', () => {
    const soon = new Date(Math.floor(Date.now() / 1000) * 1000 + 60_000);
    expect(judge([makeProxy(proxy), makeProxy(alice, { ...proxy, notAfter: soon }), alice].slice(1))).toEqual(
      expect.objectContaining({ expiresAt: soon }),
    );
  });

  it('say what to do about a legacy proxy', () => {
    expect(() => judge([legacy, alice])).toThrow(/voms-proxy-init -rfc/);
  });

  it('may not be endless', () => {
    const chain = [alice];
    for (let level = 0; level < 10; level += 1) chain.unshift(makeProxy(chain[0] ?? alice));
    expect(() => judge(chain)).toThrow(/too long/);
    const big = makeProxy(alice, {
      extensions: [extension('1.2.3.4', false, der(0x04, Buffer.alloc(65_000)))],
    });
    expect(() => judge([big, alice])).toThrow(/too long/);
  });

  it('find the renewed certificate of an authority beside the expired one', () => {
    const expired = makeCertificate({
      subject: middle.subject,
      by: root,
      extensions: AUTHORITY,
      notBefore: new Date('2020-01-01'),
      notAfter: PAST,
    });
    expect(judge([user('Carol', middle), expired, middle]).subject).toBe(`${BASE}/CN=Carol`);
  });
});

describe('names', () => {
  it('are written as OpenSSL writes them', () => {
    const odd = makeCertificate({ subject: '/C=DE/O=Ä/OU=a b/CN=host x', by: root, extensions: USER });
    const subject = judge([odd]).subject;
    expect(subject).toBe('/C=DE/O=\\xC3\\x84/OU=a b/CN=host x');
    if (!hasOpenssl) return;
    writeFileSync(file('odd.pem'), odd.pem);
    const run = spawnSync('openssl', ['x509', '-in', 'odd.pem', '-noout', '-subject', '-nameopt', 'compat'], {
      cwd: folder,
    });
    expect(run.stdout.toString().trim()).toBe(`subject=${subject}`);
  });
});
