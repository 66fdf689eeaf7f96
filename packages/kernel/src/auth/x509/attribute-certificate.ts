import { X509Certificate } from 'node:crypto';
import { type DerElement, objectIdentifier, readElements, readInside, timeOf } from './der.ts';

/** Extension of a proxy that carries attribute certificates; of VOMS, as the three below. */
export const VOMS_EXTENSION = '1.3.6.1.4.1.8005.100.100.5';
const FQANS = '1.3.6.1.4.1.8005.100.100.4';
const CERTIFICATES = '1.3.6.1.4.1.8005.100.100.10';
const TARGETS = '2.5.29.55';

/** Critical extensions whose meaning is honoured here. */
const UNDERSTOOD = [CERTIFICATES, TARGETS, '2.5.29.35', '2.5.29.56', '1.3.6.1.4.1.8005.100.100.11'];

/** A VOMS attribute certificate (RFC 5755 4.1), read but not verified. */
export interface AttributeCertificate {
  /** What is signed, with what, and the signature. */
  readonly content: Buffer;
  readonly algorithm: DerElement;
  readonly signature: DerElement;
  /** DER of the name of whoever issued the holder's certificate, and its serial number in hexadecimal. */
  readonly holderIssuer: Buffer;
  readonly holderSerial: string;
  /** DER of the name of the VOMS server. */
  readonly issuer: Buffer;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** `vo://host:port` of the server. */
  readonly policyAuthority: string;
  readonly fqans: readonly string[];
  /** The server's certificate, then those on the way to its authority. */
  readonly certificates: readonly X509Certificate[];
  /** Hosts that it is meant for; `undefined`: for all. */
  readonly targets: readonly string[] | undefined;
  /** Critical extensions that are not understood. */
  readonly unknown: readonly string[];
}

/**
 * Reads the attribute certificates in the VOMS extension of a proxy.
 *
 * @throws {RangeError} when they are not of that form
 */
export function readAttributeCertificates(extension: Buffer): AttributeCertificate[] {
  return readInside(extension).flatMap(({ content }) => readElements(content).map(readOne));
}

function readOne({ content: whole }: DerElement): AttributeCertificate {
  const [info, algorithm, signature] = readElements(whole);
  if (info === undefined || algorithm === undefined || signature?.tag !== 0x03)
    throw new RangeError('an attribute certificate without its fields');
  const [version, holder, issuer, inner, , validity, attributes, ...optional] = readElements(info.content);
  if (attributes === undefined || version?.tag !== 0x02 || version.content[0] !== 1)
    throw new RangeError('an attribute certificate that is not of version 2');
  if (inner?.whole.equals(algorithm.whole) !== true)
    throw new RangeError('an attribute certificate that names two algorithms');
  const [notBefore, notAfter] = readElements(validity?.content ?? Buffer.alloc(0)).map(timeOf);
  if (notBefore === undefined || notAfter === undefined)
    throw new RangeError('an attribute certificate without validity');
  return {
    content: info.whole,
    algorithm,
    signature,
    ...readHolder(holder),
    issuer: readIssuer(issuer),
    notBefore,
    notAfter,
    ...readFqans(attributes),
    ...readExtensions(optional.find(({ tag }) => tag === 0x30)),
  };
}

/** `SEQUENCE { [0] { SEQUENCE of general names, INTEGER serial } }`; other ways to name a holder are not used by VOMS. */
function readHolder(holder: DerElement | undefined): { holderIssuer: Buffer; holderSerial: string } {
  const base = readElements(holder?.content ?? Buffer.alloc(0)).find(({ tag }) => tag === 0xa0);
  const [names, serial] = readElements(base?.content ?? Buffer.alloc(0));
  if (names === undefined || serial?.tag !== 0x02)
    throw new RangeError('an attribute certificate without a holder');
  return { holderIssuer: directoryName(names), holderSerial: serial.content.toString('hex') };
}

/** `[0] { SEQUENCE of general names }` (V2Form). */
function readIssuer(issuer: DerElement | undefined): Buffer {
  const [names] = issuer?.tag === 0xa0 ? readElements(issuer.content) : [];
  if (names === undefined) throw new RangeError('an attribute certificate without an issuer');
  return directoryName(names);
}

/** The one `[4] Name` among general names. */
function directoryName({ content }: DerElement): Buffer {
  const [name, ...more] = readElements(content);
  if (name?.tag !== 0xa4 || more.length > 0) throw new RangeError('a name that is no directory name');
  return name.content;
}

/** `IetfAttrSyntax`: `SEQUENCE { [0] { [6] URI }, SEQUENCE OF OCTET STRING }`. */
function readFqans(attributes: DerElement): { policyAuthority: string; fqans: string[] } {
  const values = readElements(attributes.content).flatMap(({ content }) => {
    const [type, set] = readElements(content);
    const isFqans = type !== undefined && set !== undefined && objectIdentifier(type.content) === FQANS;
    return isFqans ? readElements(set.content) : [];
  });
  const [syntax, ...more] = values;
  if (syntax === undefined || more.length > 0)
    throw new RangeError('an attribute certificate without attributes of VOMS');
  const [authority, list] = readElements(syntax.content);
  const uri = readElements(authority?.content ?? Buffer.alloc(0)).find(({ tag }) => tag === 0x86);
  if (uri === undefined || list === undefined) throw new RangeError('attributes without their VO');
  return {
    policyAuthority: uri.content.toString('latin1'),
    fqans: readElements(list.content).map(({ content }) => content.toString('latin1')),
  };
}

function readExtensions(
  field: DerElement | undefined,
): Pick<AttributeCertificate, 'certificates' | 'targets' | 'unknown'> {
  let certificates: X509Certificate[] = [];
  let targets: string[] | undefined;
  const unknown: string[] = [];
  for (const { content } of readElements(field?.content ?? Buffer.alloc(0))) {
    const parts = readElements(content);
    const [type, critical] = parts;
    const value = parts.at(-1);
    if (type === undefined || value?.tag !== 0x04) throw new RangeError('an extension without a value');
    const name = objectIdentifier(type.content);
    if (name === CERTIFICATES) certificates = readInside(value.content).flatMap(readCertificates);
    if (name === TARGETS) targets = readInside(value.content).flatMap(readTarget);
    if (critical?.tag === 0x01 && critical.content[0] !== 0 && !UNDERSTOOD.includes(name)) unknown.push(name);
  }
  return { certificates, targets, unknown };
}

function readCertificates({ content }: DerElement): X509Certificate[] {
  return readElements(content).map(({ whole }) => {
    try {
      return new X509Certificate(whole);
    } catch (cause) {
      throw new RangeError('a certificate of a VOMS server that is none', { cause });
    }
  });
}

/** `[0] { general name }`, which VOMS wraps into a SEQUENCE; a URI or a DNS name says the host. */
function readTarget(target: DerElement): string[] {
  if (target.tag === 0x30) return readElements(target.content).flatMap(readTarget);
  if (target.tag !== 0xa0) return [];
  return readElements(target.content)
    .filter(({ tag }) => tag === 0x86 || tag === 0x82)
    .map(({ content }) => content.toString('latin1').replace(/^[a-z]+:\/\/([^/:]+).*$/i, '$1'));
}
