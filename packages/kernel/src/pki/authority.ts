import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import * as x509 from '@peculiar/x509';
import { type NamePart, signingPolicy, subjectHash } from './openssl-folder.ts';
import type { CertificateSubject, TlsMaterial } from './types.ts';

const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength: 3072,
  publicExponent: Uint8Array.of(1, 0, 1),
};
/** Grid clients verify elliptic-curve leaves with any OpenSSL of this decade, and the handshake costs a tenth of RSA's. */
const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY = 86_400_000;
const AUTHORITY_DAYS = 3650;
const LEAF_DAYS = 398;

export interface Authority {
  /** `<folder>/ca.pem`, for `--cacert`, `NODE_EXTRA_CA_CERTS`, `REQUESTS_CA_BUNDLE`. */
  readonly certificateFile: string;
  /** OpenSSL-hashed folder with signing policy and CRL, for `X509_CERT_DIR`. */
  readonly certificatesFolder: string;
  readonly certificate: string;
  /** A server certificate for these hosts, made when absent, different or within 30 days of its end. */
  ensureServerCertificate(name: string, subject: CertificateSubject): Promise<TlsMaterial>;
  /** A new client certificate; nothing of it is kept. RSA, because grid clients make proxies with it. */
  issueClientCertificate(commonName: string): Promise<TlsMaterial>;
}

/**
 * The certificate authority of one Weft instance, made at first start in `folder` (keys 0600). Files are written under a
 * temporary name and renamed, the certificate last, so a crash in the middle leaves nothing that looks finished.
 */
export async function ensureAuthority(folder: string): Promise<Authority> {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const keyFile = path.join(folder, 'ca.key');
  const certificateFile = path.join(folder, 'ca.pem');
  const certificatesFolder = path.join(folder, 'certificates');
  if (!existsSync(certificateFile)) await makeAuthority(keyFile, certificateFile);

  const certificate = readFileSync(certificateFile, 'utf8');
  const authority = new x509.X509Certificate(certificate);
  const loadKey = () => importKey(readFileSync(keyFile, 'utf8'), RSA);
  await publishFolder(certificatesFolder, authority, certificate, loadKey);

  return {
    certificate,
    certificateFile,
    certificatesFolder,
    issueClientCertificate: async (commonName) => {
      const keys = await webcrypto.subtle.generateKey({ ...RSA, modulusLength: 2048 }, true, [
        'sign',
        'verify',
      ]);
      return signLeaf(authority, await loadKey(), keys, commonName, [
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
          true,
        ),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      ]);
    },
    ensureServerCertificate: (name, subject) =>
      ensureServerCertificate(folder, name, subject, authority, loadKey),
  };
}

async function makeAuthority(keyFile: string, certificateFile: string): Promise<void> {
  const keys = await webcrypto.subtle.generateKey(RSA, true, ['sign', 'verify']);
  const label = randomBytes(4).toString('hex');
  const now = Date.now();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `O=Weft, CN=Weft local CA ${label}`,
    notBefore: new Date(now - DAY),
    notAfter: new Date(now + AUTHORITY_DAYS * DAY),
    signingAlgorithm: RSA,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  writeFile(keyFile, await exportKey(keys.privateKey), 0o600);
  writeFile(certificateFile, `${certificate.toString('pem')}\n`, 0o644);
}

async function ensureServerCertificate(
  folder: string,
  name: string,
  subject: CertificateSubject,
  authority: x509.X509Certificate,
  loadKey: () => Promise<webcrypto.CryptoKey>,
): Promise<TlsMaterial> {
  const certificateFile = path.join(folder, `${name}.pem`);
  const keyFile = path.join(folder, `${name}.key`);
  const hosts = [...new Set(subject.hosts ?? [subject.commonName])];
  if (existsSync(certificateFile) && existsSync(keyFile)) {
    const existing = readFileSync(certificateFile, 'utf8');
    const leaf = new x509.X509Certificate(existing);
    const fresh = leaf.notAfter.getTime() - Date.now() > 30 * DAY;
    if (fresh && sameHosts(leaf, hosts)) return { certificate: existing, key: readFileSync(keyFile, 'utf8') };
  }

  const keys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const { certificate, key } = await signLeaf(authority, await loadKey(), keys, subject.commonName, [
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
    new x509.SubjectAlternativeNameExtension(hosts.map(alternativeName)),
  ]);
  writeFile(keyFile, key, 0o600);
  writeFile(certificateFile, certificate, 0o644);
  return { certificate, key };
}

/** A certificate that is no authority, with its chain and its key as PEM. */
async function signLeaf(
  authority: x509.X509Certificate,
  signingKey: webcrypto.CryptoKey,
  keys: webcrypto.CryptoKeyPair,
  commonName: string,
  extensions: readonly x509.Extension[],
): Promise<TlsMaterial> {
  const now = Date.now();
  const leaf = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    // As JSON, so that no character of the name can add to the subject.
    subject: [{ O: ['Weft'] }, { CN: [commonName] }],
    issuer: authority.subject,
    notBefore: new Date(now - DAY),
    notAfter: new Date(now + LEAF_DAYS * DAY),
    signingAlgorithm: RSA,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      ...extensions,
      await x509.AuthorityKeyIdentifierExtension.create(authority),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    certificate: `${leaf.toString('pem')}\n${authority.toString('pem')}\n`,
    key: await exportKey(keys.privateKey),
  };
}

/** The folder that OpenSSL and grid clients look certificates up in by subject hash. The CRL is renewed every start. */
async function publishFolder(
  folder: string,
  authority: x509.X509Certificate,
  certificate: string,
  loadKey: () => Promise<webcrypto.CryptoKey>,
): Promise<void> {
  const name = nameParts(authority);
  const hash = subjectHash(name);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const now = Date.now();
  const crl = await x509.X509CrlGenerator.create({
    issuer: authority.subject,
    thisUpdate: new Date(now - DAY),
    nextUpdate: new Date(now + 365 * DAY),
    signingAlgorithm: RSA,
    signingKey: await loadKey(),
  });
  writeFile(path.join(folder, `${hash}.0`), certificate, 0o644);
  writeFile(path.join(folder, `${hash}.signing_policy`), signingPolicy(name), 0o644);
  writeFile(path.join(folder, `${hash}.r0`), `${crl.toString('pem')}\n`, 0o644);
}

function nameParts(certificate: x509.X509Certificate): NamePart[] {
  return certificate.subjectName
    .toJSON()
    .flatMap((part) =>
      Object.entries(part).flatMap(([type, values]) => values.map((value) => namePart(type, value))),
    );
}

function namePart(type: string, value: string): NamePart {
  if (type !== 'O' && type !== 'CN') throw new TypeError(`unexpected ${type} in the name of the authority`);
  return { type, value };
}

const isAddress = (host: string): boolean => /^[\d.]+$/.test(host) || host.includes(':');

function alternativeName(host: string): x509.JsonGeneralName {
  return { type: isAddress(host) ? 'ip' : 'dns', value: host };
}

function sameHosts(leaf: x509.X509Certificate, hosts: readonly string[]): boolean {
  const names =
    leaf.getExtension(x509.SubjectAlternativeNameExtension)?.names.items.map((name) => name.value) ?? [];
  return names.length === hosts.length && hosts.every((host) => names.includes(host));
}

/** 20 random bytes, positive (RFC 5280 4.1.2.2). */
function serial(): string {
  const bytes = randomBytes(20);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

function importKey(pem: string, algorithm: typeof RSA): Promise<webcrypto.CryptoKey> {
  const [der] = x509.PemConverter.decode(pem);
  if (!der) throw new TypeError('the key of the authority is not PEM');
  return webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
}

function writeFile(file: string, content: string, mode: number): void {
  const temporary = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  writeFileSync(temporary, content, { mode, flush: true });
  renameSync(temporary, file);
}
