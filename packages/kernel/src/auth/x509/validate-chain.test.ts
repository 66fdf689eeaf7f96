import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRevocationList } from './revocation-list.ts';
import { validateChain } from './validate-chain.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'weft-x509-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string) => path.join(folder, name);
const hasOpenssl = spawnSync('openssl', ['version']).error === undefined;
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

interface Wanted {
  subject: string;
  /** Whose key signs; itself when absent. */
  by?: string;
  extensions?: string;
  notBefore?: string;
  notAfter?: string;
  bits?: number;
}

/** Makes `<name>.pem` and `<name>.key` with `openssl ca`, which alone of OpenSSL's commands takes any validity. */
function make(name: string, { subject, by = name, extensions = '', bits = 2048, ...validity }: Wanted): void {
  openssl(
    'req',
    '-newkey',
    `rsa:${bits}`,
    '-nodes',
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.csr`,
    '-subj',
    subject,
  );
  writeFileSync(file(`${name}.cnf`), `${CA_CONFIGURATION}\n[ext]\n${extensions}\n`);
  const signer =
    by === name ? ['-selfsign', '-keyfile', `${name}.key`] : ['-cert', `${by}.pem`, '-keyfile', `${by}.key`];
  openssl(
    ...['ca', '-batch', '-notext', '-config', `${name}.cnf`, '-extensions', 'ext', '-in', `${name}.csr`],
    ...['-out', `${name}.pem`, '-startdate', validity.notBefore ?? '20200101000000Z'],
    ...['-enddate', validity.notAfter ?? '20400101000000Z', ...signer],
  );
}

const CA_CONFIGURATION = `
[ca]
default_ca = default
[default]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
preserve = yes
unique_subject = no
default_crl_days = 3650
[any]
domainComponent = optional
organizationName = optional
commonName = optional
`;
const AUTHORITY = 'basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign';
const USER = 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature,keyEncipherment';
const PROXY = 'keyUsage=critical,digitalSignature\nproxyCertInfo=critical,language:id-ppl-inheritAll';
const ALICE = '/DC=org/DC=example/CN=Alice';

beforeAll(() => {
  if (!hasOpenssl) return;
  writeFileSync(file('index.txt'), '');
  make('root', { subject: '/DC=org/DC=example/CN=Root', extensions: AUTHORITY });
  make('stranger', { subject: '/DC=org/DC=example/CN=Stranger', extensions: AUTHORITY });
  make('alice', { subject: ALICE, by: 'root', extensions: USER });
  make('proxy', { subject: `${ALICE}/CN=1`, by: 'alice', extensions: PROXY });
  make('second', { subject: `${ALICE}/CN=1/CN=2`, by: 'proxy', extensions: PROXY });
  make('limited', {
    subject: `${ALICE}/CN=3`,
    by: 'alice',
    extensions: 'proxyCertInfo=critical,language:1.3.6.1.4.1.3536.1.1.1.9',
  });
  make('below-limited', { subject: `${ALICE}/CN=3/CN=4`, by: 'limited', extensions: PROXY });
  make('wrong-name', { subject: '/DC=org/DC=example/CN=Bob/CN=1', by: 'alice', extensions: PROXY });
  make('childless', { subject: `${ALICE}/CN=5`, by: 'alice', extensions: `${PROXY},pathlen:0` });
  make('child', { subject: `${ALICE}/CN=5/CN=6`, by: 'childless', extensions: PROXY });
  make('old-proxy', {
    subject: `${ALICE}/CN=7`,
    by: 'alice',
    extensions: PROXY,
    notAfter: '20210101000000Z',
  });
  make('old', {
    subject: '/DC=org/DC=example/CN=Old',
    by: 'root',
    extensions: USER,
    notAfter: '20210101000000Z',
  });
  make('proxy-of-old', { subject: '/DC=org/DC=example/CN=Old/CN=1', by: 'old', extensions: PROXY });
  make('early', {
    subject: '/DC=org/DC=example/CN=Early',
    by: 'root',
    extensions: USER,
    notBefore: '20390101000000Z',
  });
  make('revoked', { subject: '/DC=org/DC=example/CN=Revoked', by: 'root', extensions: USER });
  make('proxy-of-revoked', {
    subject: '/DC=org/DC=example/CN=Revoked/CN=1',
    by: 'revoked',
    extensions: PROXY,
  });
  make('strangers-user', { subject: '/DC=org/DC=example/CN=Eve', by: 'stranger', extensions: USER });
  make('flagged', { subject: '/DC=org/DC=example/CN=Flagged', by: 'root', extensions: AUTHORITY });
  make('proxy-of-flagged', {
    subject: '/DC=org/DC=example/CN=Flagged/CN=1',
    by: 'flagged',
    extensions: PROXY,
  });
  make('legacy', {
    subject: `${ALICE}/CN=proxy`,
    by: 'alice',
    extensions: 'keyUsage=critical,digitalSignature',
  });
  make('named-proxy', {
    subject: `${ALICE}/CN=8`,
    by: 'alice',
    extensions: `${PROXY}\nsubjectAltName=DNS:a.example`,
  });
  make('users-user', { subject: '/DC=org/DC=example/CN=Mallory', by: 'alice', extensions: USER });
  make('middle', {
    subject: '/DC=org/DC=example/CN=Middle',
    by: 'root',
    extensions: 'basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign',
  });
  make('middles-user', { subject: '/DC=org/DC=example/CN=Carol', by: 'middle', extensions: USER });
  make('below-middle', { subject: '/DC=org/DC=example/CN=Lower', by: 'middle', extensions: AUTHORITY });
  make('too-deep', { subject: '/DC=org/DC=example/CN=Deep', by: 'below-middle', extensions: USER });
  make('weak-proxy', { subject: `${ALICE}/CN=9`, by: 'alice', extensions: PROXY, bits: 1024 });
  openssl('ca', '-config', 'root.cnf', '-cert', 'root.pem', '-keyfile', 'root.key', '-revoke', 'revoked.pem');
  openssl(
    'ca',
    '-config',
    'root.cnf',
    '-cert',
    'root.pem',
    '-keyfile',
    'root.key',
    '-gencrl',
    '-out',
    'root.crl',
  );
  openssl('crl', '-in', 'root.crl', '-outform', 'DER', '-out', 'root.crl.der');
}, 120_000);

const certificateOf = (name: string) => new X509Certificate(readFileSync(file(`${name}.pem`)));
const judge = (names: readonly string[]) =>
  validateChain(names.map(certificateOf), {
    anchors: [certificateOf('root')],
    revocationLists: [readRevocationList(readFileSync(file('root.crl.der')))],
  });

/** OpenSSL's verdict; lists are asked for certificates of the root alone, since nobody else has one. */
function opensslAccepts(names: readonly string[]): boolean {
  writeFileSync(
    file('sent.pem'),
    names
      .slice(1)
      .map((name) => readFileSync(file(`${name}.pem`)))
      .join(''),
  );
  // OpenSSL takes no empty file.
  const untrusted = names.length > 1 ? ['-untrusted', 'sent.pem'] : [];
  const verify = (leaf: string, ...more: string[]) =>
    spawnSync('openssl', ['verify', '-CAfile', 'root.pem', ...untrusted, ...more, `${leaf}.pem`], {
      cwd: folder,
    }).status === 0;
  const [leaf = '', ...rest] = names;
  if (!verify(leaf, '-allow_proxy_certs')) return false;
  return [leaf, ...rest]
    .filter((name) => certificateOf(name).verify(certificateOf('root').publicKey))
    .every((name) => verify(name, '-crl_check', '-CRLfile', 'root.crl'));
}

const CHAINS: [what: string, names: string[], good: boolean][] = [
  ['a user certificate', ['alice'], true],
  ['a proxy', ['proxy', 'alice'], true],
  ['a proxy of a proxy', ['second', 'proxy', 'alice'], true],
  ['a limited proxy', ['limited', 'alice'], true],
  ['a user below an intermediate authority', ['middles-user', 'middle'], true],
  ['a proxy whose name is another one’s', ['wrong-name', 'alice'], false],
  ['more proxies than one allows', ['child', 'childless', 'alice'], false],
  ['an expired proxy', ['old-proxy', 'alice'], false],
  ['an expired user certificate', ['old'], false],
  ['a proxy of an expired user certificate', ['proxy-of-old', 'old'], false],
  ['a certificate that is not valid yet', ['early'], false],
  ['a revoked certificate', ['revoked'], false],
  ['a proxy of a revoked certificate', ['proxy-of-revoked', 'revoked'], false],
  ['a user of an unknown authority', ['strangers-user', 'stranger'], false],
  ['a chain with a piece missing', ['second', 'alice'], false],
  ['a proxy of a user certificate that is an authority', ['proxy-of-flagged', 'flagged'], false],
  ['a legacy proxy', ['legacy', 'alice'], false],
  ['a proxy with alternative names', ['named-proxy', 'alice'], false],
  ['a user certificate made by a user', ['users-user', 'alice'], false],
  ['more authorities than one allows', ['too-deep', 'below-middle', 'middle'], false],
];

// Verdicts are compared with OpenSSL's own; where it is not installed there is nothing to compare with.
describe.skipIf(!hasOpenssl)('chains of certificates', () => {
  it.each(CHAINS)('%s: the same verdict as OpenSSL', (_what, names, good) => {
    expect(opensslAccepts(names)).toBe(good);
    if (good) expect(judge(names).subject).toMatch(/^\/DC=org\/DC=example\/CN=(Alice|Carol)$/);
    else expect(() => judge(names)).toThrow(/client certificate is not valid/);
  });

  /** Where the house is stricter than OpenSSL, on purpose. */
  it.each([
    ['a proxy with a short key', ['weak-proxy', 'alice'], /fewer than 2048 bits/],
    ['an authority as a caller', ['flagged'], /nobody’s identity/],
  ])('%s: refused, although OpenSSL takes it', (_what, names, reason) => {
    expect(opensslAccepts(names)).toBe(true);
    expect(() => judge(names)).toThrow(reason);
  });

  it('tells who it is, how many proxies stand between, and that limited stays limited', () => {
    expect(judge(['second', 'proxy', 'alice'])).toMatchObject({ subject: ALICE, proxies: 2, limited: false });
    expect(judge(['below-limited', 'limited', 'alice'])).toMatchObject({ subject: ALICE, limited: true });
    expect(judge(['alice'])).toMatchObject({ issuer: '/DC=org/DC=example/CN=Root', proxies: 0 });
  });

  it('says what to do about a legacy proxy', () => {
    expect(() => judge(['legacy', 'alice'])).toThrow(/voms-proxy-init -rfc/);
  });
});
