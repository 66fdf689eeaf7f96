import type { X509Certificate } from 'node:crypto';
import { bitOf, type DerElement, objectIdentifier, readElements, readInside, smallInteger } from './der.ts';

const EXTENSION = {
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  proxyCertInfo: '1.3.6.1.5.5.7.1.14',
} as const;

/** Policy languages of proxies (RFC 3820 3.8.2; Globus). */
export const PROXY_LANGUAGE = {
  inheritAll: '1.3.6.1.5.5.7.21.1',
  independent: '1.3.6.1.5.5.7.21.2',
  limited: '1.3.6.1.4.1.3536.1.1.1.9',
} as const;

export interface ProxyCertInfo {
  /** How many proxies may follow below this one; `undefined`: any number. */
  readonly pathLength: number | undefined;
  readonly language: string;
}

/** What a chain is judged by, read from the certificate itself: Node tells none of it. */
export interface Certificate {
  readonly x509: X509Certificate;
  /** DER, for comparisons byte by byte. */
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly relativeNames: readonly RelativeName[];
  readonly serial: string;
  readonly proxy: ProxyCertInfo | undefined;
  readonly isAuthority: boolean;
  /** Longest chain of intermediate authorities below. */
  readonly pathLength: number | undefined;
  readonly mayCertify: boolean;
  readonly maySign: boolean;
  /** Whether the purposes that it names include that of a TLS client; true when it names none. */
  readonly mayBeClient: boolean;
  /** Made with MD5 or SHA-1, for which other documents with the same signature can be made. */
  readonly weaklySigned: boolean;
  readonly hasAlternativeNames: boolean;
  /** Critical extensions by identifier. */
  readonly critical: readonly string[];
  readonly proxyInfoIsCritical: boolean;
  /** Content of an extension, by its identifier. */
  extension(type: string): Buffer | undefined;
}

interface RelativeName {
  readonly whole: Buffer;
  /** Attribute type and text; several of them in a multi-valued name. */
  readonly attributes: readonly { type: string; text: string }[];
}

const known = new WeakMap<X509Certificate, Certificate>();

/** @throws {RangeError} when it is not a certificate of RFC 5280's form */
export function readCertificate(x509: X509Certificate): Certificate {
  let certificate = known.get(x509);
  if (certificate === undefined) {
    certificate = read(x509);
    known.set(x509, certificate);
  }
  return certificate;
}

function read(x509: X509Certificate): Certificate {
  const [tbs, signatureAlgorithm] = readInside(x509.raw);
  const fields = readElements(tbs?.content ?? Buffer.alloc(0));
  const [serial, , issuer, , subject, , ...optional] = fields[0]?.tag === 0xa0 ? fields.slice(1) : fields;
  if (serial === undefined || issuer === undefined || subject === undefined)
    throw new RangeError('a certificate without its fields');
  const extensions = readExtensions(optional.find(({ tag }) => tag === 0xa3));
  const usage = extensions.get(EXTENSION.keyUsage);
  const usageBits = usage === undefined ? undefined : readElements(usage.value)[0]?.content;
  const proxyInfo = extensions.get(EXTENSION.proxyCertInfo);
  const purposes = extensions.get(EXTENSION.extendedKeyUsage);
  const [digest] = readElements(signatureAlgorithm?.content ?? Buffer.alloc(0));
  return {
    x509,
    subject: subject.whole,
    issuer: issuer.whole,
    relativeNames: readName(subject.whole),
    serial: serial.content.toString('hex'),
    proxy: proxyInfo === undefined ? undefined : readProxyInfo(proxyInfo.value),
    proxyInfoIsCritical: proxyInfo?.critical === true,
    ...readConstraints(extensions.get(EXTENSION.basicConstraints)?.value),
    maySign: usageBits === undefined || bitOf(usageBits, 0),
    mayCertify: usageBits === undefined || bitOf(usageBits, 5),
    mayBeClient:
      purposes === undefined ||
      readInside(purposes.value).some(({ content }) => CLIENT_PURPOSES.has(objectIdentifier(content))),
    weaklySigned: digest !== undefined && WEAK_SIGNATURES.has(objectIdentifier(digest.content)),
    hasAlternativeNames: extensions.has(EXTENSION.subjectAltName),
    critical: [...extensions].filter(([, { critical }]) => critical).map(([type]) => type),
    extension: (type) => extensions.get(type)?.value,
  };
}

/** Client authentication and any purpose (RFC 5280 4.2.1.12). */
const CLIENT_PURPOSES: ReadonlySet<string> = new Set(['1.3.6.1.5.5.7.3.2', '2.5.29.37.0']);

const WEAK_SIGNATURES: ReadonlySet<string> = new Set([
  '1.2.840.113549.1.1.2', // md2WithRSAEncryption
  '1.2.840.113549.1.1.3', // md4WithRSAEncryption
  '1.2.840.113549.1.1.4', // md5WithRSAEncryption
  '1.2.840.113549.1.1.5', // sha1WithRSAEncryption
  '1.2.840.10045.4.1', // ecdsa-with-SHA1
]);

/** OpenSSL's one-line form: `/DC=org/DC=example/CN=Alice`. */
export function oneLine({ relativeNames }: Pick<Certificate, 'relativeNames'>): string {
  return relativeNames
    .map(
      ({ attributes }) =>
        `/${attributes.map(({ type, text }) => `${SHORT_NAMES.get(type) ?? type}=${text}`).join('+')}`,
    )
    .join('');
}

/** The relative names of a DER name, in its order. @throws {RangeError} when it is none */
export function readName(der: Buffer): RelativeName[] {
  return readInside(der).map(readRelativeName);
}

const SHORT_NAMES: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.4', 'SN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.10', 'O'],
  ['2.5.4.9', 'street'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.12', 'title'],
  ['2.5.4.17', 'postalCode'],
  ['2.5.4.42', 'GN'],
  ['2.5.4.46', 'dnQualifier'],
  ['2.5.4.65', 'pseudonym'],
  ['2.5.4.97', 'organizationIdentifier'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
  ['1.2.840.113549.1.9.1', 'emailAddress'],
]);

export const COMMON_NAME = '2.5.4.3';

function readRelativeName({ content, whole }: DerElement): RelativeName {
  const attributes = readElements(content).map((attribute) => {
    const [type, value] = readElements(attribute.content);
    if (type === undefined || value === undefined) throw new RangeError('a name without a value');
    return { type: objectIdentifier(type.content), text: printable(value.content) };
  });
  return { whole, attributes };
}

/** As OpenSSL prints names: bytes outside printable ASCII in hexadecimal. */
function printable(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(
      /[^ -~]/g,
      (character) => `\\x${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
    );
}

interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

function readExtensions(field: DerElement | undefined): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  if (field === undefined) return extensions;
  for (const { content } of readInside(field.content)) {
    const parts = readElements(content);
    const [type, second] = parts;
    const value = parts.at(-1);
    if (type === undefined || value?.tag !== 0x04) throw new RangeError('an extension without a value');
    const name = objectIdentifier(type.content);
    if (extensions.has(name)) throw new RangeError('an extension that comes twice');
    extensions.set(name, { critical: second?.tag === 0x01 && second.content[0] !== 0, value: value.content });
  }
  return extensions;
}

function readConstraints(value: Buffer | undefined): {
  isAuthority: boolean;
  pathLength: number | undefined;
} {
  const parts = value === undefined ? [] : readInside(value);
  const isAuthority = parts[0]?.tag === 0x01 && parts[0].content[0] !== 0;
  const limit = parts.find(({ tag }) => tag === 0x02);
  return { isAuthority, pathLength: limit === undefined ? undefined : smallInteger(limit.content) };
}

/** RFC 3820 3.8: `SEQUENCE { pCPathLenConstraint INTEGER OPTIONAL, proxyPolicy SEQUENCE { policyLanguage, policy } }` */
function readProxyInfo(value: Buffer): ProxyCertInfo {
  const parts = readInside(value);
  const limit = parts.find(({ tag }) => tag === 0x02);
  const policy = parts.find(({ tag }) => tag === 0x30);
  const [language] = readElements(policy?.content ?? Buffer.alloc(0));
  if (language?.tag !== 0x06) throw new RangeError('a proxy without a policy language');
  return {
    pathLength: limit === undefined ? undefined : smallInteger(limit.content),
    language: objectIdentifier(language.content),
  };
}
