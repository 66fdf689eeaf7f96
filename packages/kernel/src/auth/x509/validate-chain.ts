import type { X509Certificate } from 'node:crypto';
import { WeftError } from '../../errors/index.ts';
import { type Certificate, COMMON_NAME, oneLine, PROXY_LANGUAGE, readCertificate } from './certificate.ts';
import type { RevocationList } from './revocation-list.ts';

/** Whom a chain of certificates stands for. */
export interface CertificateIdentity {
  /** Subject of the end-entity certificate, OpenSSL's one-line form. */
  readonly subject: string;
  /** Subject of the authority that vouches for it. */
  readonly issuer: string;
  readonly expiresAt: Date;
  /** How many proxies stand between the caller and the certificate. */
  readonly proxies: number;
  /** A limited proxy may move files, but not start jobs. */
  readonly limited: boolean;
}

export interface ChainOptions {
  /** Authorities that are trusted. */
  readonly anchors: readonly X509Certificate[];
  /** Lists of authorities; one that has a list must have a fresh one. */
  readonly revocationLists?: readonly RevocationList[];
  /** Milliseconds since 1970. */
  readonly now?: number;
}

const LONGEST_CHAIN = 10;
const LARGEST_CHAIN_BYTES = 64 * 1024;
const SMALLEST_RSA_BITS = 2048;

/** Critical extensions whose meaning is honoured here, or does not matter for who somebody is. */
const UNDERSTOOD = [
  '2.5.29.15', // key usage
  '2.5.29.17', // alternative names
  '2.5.29.19', // basic constraints
  '2.5.29.32', // certificate policies
  '2.5.29.37', // extended key usage
  '1.3.6.1.5.5.7.1.14', // proxy certificate information
];

/**
 * Judges a chain as a peer sent it, leaf first: RFC 3820 proxies down to the end-entity certificate, RFC 5280 from there to
 * an anchor (brief alise-aai 3.7). Node's own verdict knows no proxies and is not asked.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid_certificate`
 */
export function validateChain(
  sent: readonly X509Certificate[],
  { anchors, revocationLists = [], now = Date.now() }: ChainOptions,
): CertificateIdentity {
  if (sent.length > LONGEST_CHAIN || sent.reduce((sum, { raw }) => sum + raw.length, 0) > LARGEST_CHAIN_BYTES)
    throw refused('the chain is too long');
  const trusted = anchors.map(parse);
  const others = [...sent.slice(1).map(parse), ...trusted];
  const [first] = sent;
  if (first === undefined) throw refused('there is no certificate');

  let current = parse(first);
  let limited = false;
  let expiresAt = Number.POSITIVE_INFINITY;
  const proxies: Certificate[] = [];
  while (current.proxy !== undefined) {
    if (proxies.length === LONGEST_CHAIN) throw refused('the chain is too long');
    requireTime(current, now);
    requireStrongKey(current);
    const issuer = issuerOf(current, others);
    requireProxy(current, issuer, proxies.length);
    limited ||= current.proxy.language === PROXY_LANGUAGE.limited;
    expiresAt = Math.min(expiresAt, current.x509.validToDate.getTime());
    proxies.push(current);
    current = issuer;
  }
  if (current.isAuthority) throw refused('an authority is nobody’s identity');
  expiresAt = Math.min(expiresAt, current.x509.validToDate.getTime());
  const authority = requirePath(current, { others, trusted, revocationLists, now });
  return {
    subject: oneLine(current),
    issuer: oneLine(authority),
    expiresAt: new Date(expiresAt),
    proxies: proxies.length,
    limited,
  };
}

/** Rules (a) to (f) of brief alise-aai 3.7 for one proxy, below which `below` others stand. */
function requireProxy(proxy: Certificate, issuer: Certificate, below: number): void {
  const info = proxy.proxy;
  if (info === undefined || !proxy.proxyInfoIsCritical)
    throw refused('its proxy information is not critical');
  if (!Object.values<string>(PROXY_LANGUAGE).includes(info.language))
    throw refused('a proxy has an unknown policy language');
  if (proxy.isAuthority || issuer.isAuthority) throw refused('an authority takes part in a proxy');
  if (proxy.hasAlternativeNames) throw refused('a proxy has alternative names');
  if (!proxy.maySign || !issuer.maySign) throw refused('a key may not sign');
  if (info.pathLength !== undefined && below > info.pathLength)
    throw refused('more proxies than one of them allows');
  const names = proxy.relativeNames;
  const last = names.at(-1);
  const extendsIssuer =
    names.length === issuer.relativeNames.length + 1 &&
    issuer.relativeNames.every(({ whole }, index) => names[index]?.whole.equals(whole) === true) &&
    last?.attributes.length === 1 &&
    last.attributes[0]?.type === COMMON_NAME;
  if (!extendsIssuer) throw refused('the name of a proxy does not extend that of its issuer');
  requireUnderstood(proxy);
}

interface Surroundings {
  others: readonly Certificate[];
  trusted: readonly Certificate[];
  revocationLists: readonly RevocationList[];
  now: number;
}

/** RFC 5280 6, from an end-entity certificate up to an anchor; gives the authority that issued it. */
function requirePath(
  entity: Certificate,
  { others, trusted, revocationLists, now }: Surroundings,
): Certificate {
  let current = entity;
  let firstAuthority: Certificate | undefined;
  for (let authorities = 0; ; authorities += 1) {
    requireTime(current, now);
    requireUnderstood(current);
    const isAnchor = trusted.some(({ x509 }) => x509.raw.equals(current.x509.raw));
    if (isAnchor && firstAuthority !== undefined) return firstAuthority;
    if (authorities === LONGEST_CHAIN) throw refused('the chain is too long');
    const issuer = issuerOf(current, others);
    if (!issuer.isAuthority) throw refused(legacyHint(current, issuer));
    if (!issuer.mayCertify) throw refused('an authority may not certify');
    if (issuer.pathLength !== undefined && authorities > issuer.pathLength)
      throw refused('more authorities than one of them allows');
    requireNotRevoked(current, issuer, revocationLists, now);
    firstAuthority ??= issuer;
    current = issuer;
  }
}

function issuerOf(certificate: Certificate, candidates: readonly Certificate[]): Certificate {
  const named = candidates.filter(({ subject }) => subject.equals(certificate.issuer));
  if (named.length === 0) throw refused('its issuer is not known');
  const issuer = named.find(({ x509 }) => certificate.x509.verify(x509.publicKey));
  if (issuer === undefined) throw refused('a signature is wrong');
  return issuer;
}

function requireNotRevoked(
  certificate: Certificate,
  issuer: Certificate,
  lists: readonly RevocationList[],
  now: number,
): void {
  const own = lists.filter((list) => list.issuer.equals(issuer.subject));
  if (own.length === 0) return;
  const fresh = own.filter(
    (list) => (list.nextUpdate ?? now) >= now && list.isSignedBy(issuer.x509.publicKey),
  );
  if (fresh.length === 0) throw refused('the revocation list of its authority is too old');
  if (fresh.some(({ revoked }) => revoked.has(certificate.serial))) throw refused('it was revoked');
}

function requireTime({ x509 }: Certificate, now: number): void {
  if (x509.validToDate.getTime() < now) throw refused('it has expired');
  if (x509.validFromDate.getTime() > now) throw refused('it is not valid yet');
}

function requireUnderstood({ critical }: Certificate): void {
  const unknown = critical.find((type) => !UNDERSTOOD.includes(type));
  if (unknown !== undefined) throw refused(`its critical extension ${unknown} is not understood`);
}

function requireStrongKey({ x509 }: Certificate): void {
  const { asymmetricKeyType, asymmetricKeyDetails } = x509.publicKey;
  if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) < SMALLEST_RSA_BITS)
    throw refused(`its RSA key has fewer than ${SMALLEST_RSA_BITS} bits`);
}

/** `CN=proxy` without the extension of RFC 3820 is what Globus 2 made. */
function legacyHint(certificate: Certificate, issuer: Certificate): string {
  const last = certificate.relativeNames.at(-1)?.attributes[0]?.text ?? '';
  const extended = certificate.relativeNames.length === issuer.relativeNames.length + 1;
  return extended && /^(limited )?proxy$/.test(last)
    ? 'it is a legacy proxy: make one of RFC 3820 (voms-proxy-init -rfc)'
    : 'a certificate was issued by one that is no authority';
}

function parse(x509: X509Certificate): Certificate {
  try {
    return readCertificate(x509);
  } catch (error) {
    if (error instanceof RangeError) throw refused(`it is malformed: ${error.message}`);
    throw error;
  }
}

function refused(reason: string): WeftError {
  return new WeftError(
    'unauthenticated',
    'invalid_certificate',
    `The client certificate is not valid: ${reason}.`,
  );
}
