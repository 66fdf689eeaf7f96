import type { X509Certificate } from 'node:crypto';
import { WeftError } from '../../errors/index.ts';
import { type Certificate, oneLine, readCertificate } from './certificate.ts';
import type { RevocationList } from './revocation-list.ts';

/** Whom and what a chain is judged by. */
export interface Trust {
  /** Authorities that are trusted; a chain ends at one that signed itself, as in OpenSSL. */
  readonly anchors: readonly X509Certificate[];
  /** Lists of authorities; one that has a list must have a fresh one. */
  readonly revocationLists?: readonly RevocationList[];
  /** Every authority must have a fresh list. Default: those that have one at all. */
  readonly requireRevocationLists?: boolean;
  /** Whether an authority may vouch for a subject (IGTF signing policy); names in one-line form. Default: for any. */
  readonly maySign?: (authority: X509Certificate, subject: string) => boolean;
  /** Milliseconds since 1970. */
  readonly now?: number;
}

export const LONGEST_CHAIN = 10;
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
 * Follows RFC 5280 6 from an end-entity certificate up to an anchor; `sent` are certificates that the peer offers for the
 * way. Gives the authorities in order, the one that issued the certificate first.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid_certificate`
 */
export function requirePath(
  entity: Certificate,
  sent: readonly Certificate[],
  { anchors, revocationLists = [], requireRevocationLists = false, maySign, now = Date.now() }: Trust,
): readonly [Certificate, ...Certificate[]] {
  const trusted = anchors.map(parse);
  const candidates = [...trusted, ...sent];
  const authorities: Certificate[] = [];
  requireStrong(entity);
  for (let current = entity; ; ) {
    requireTime(current, now);
    requireUnderstood(current);
    if (isSelfSigned(current)) {
      const [first, ...others] = authorities;
      if (first === undefined || !trusted.includes(current)) throw refused('its authority is not trusted');
      return [first, ...others];
    }
    if (current.weaklySigned) throw refused('it was signed with MD5 or SHA-1');
    if (authorities.length === LONGEST_CHAIN) throw refused('the chain is too long');
    const issuer = issuerOf(current, candidates, now);
    if (!issuer.isAuthority) throw refused(legacyHint(current, issuer));
    if (!issuer.mayCertify) throw refused('an authority may not certify');
    if (issuer.pathLength !== undefined && authorities.length > issuer.pathLength)
      throw refused('more authorities than one of them allows');
    if (maySign?.(issuer.x509, oneLine(current)) === false)
      throw refused('the signing policy of its authority does not allow its name');
    requireNotRevoked(current, issuer, { lists: revocationLists, required: requireRevocationLists, now });
    authorities.push(issuer);
    current = issuer;
  }
}

function isSelfSigned({ subject, issuer, x509 }: Certificate): boolean {
  return subject.equals(issuer) && x509.verify(x509.publicKey);
}

/** Whoever signed it; of several with one name and key (a renewed authority) one that is valid now. */
export function issuerOf(
  certificate: Certificate,
  candidates: readonly Certificate[],
  now: number,
): Certificate {
  const named = candidates.filter(({ subject }) => subject.equals(certificate.issuer));
  if (named.length === 0) throw refused('its issuer is not known');
  const signers = named.filter(({ x509 }) => certificate.x509.verify(x509.publicKey));
  const [first] = signers;
  if (first === undefined) throw refused('a signature is wrong');
  return signers.find((signer) => isInTime(signer, now)) ?? first;
}

function requireNotRevoked(
  certificate: Certificate,
  issuer: Certificate,
  { lists, required, now }: { lists: readonly RevocationList[]; required: boolean; now: number },
): void {
  const own = lists.filter((list) => list.issuer.equals(issuer.subject));
  if (own.length === 0) {
    if (required) throw refused('its authority has no revocation list here');
    return;
  }
  const fresh = own.filter((list) => (list.nextUpdate ?? now) >= now && list.isSignedBy(issuer.x509));
  if (fresh.length === 0) throw refused('the revocation list of its authority is too old');
  if (fresh.some(({ revoked }) => revoked.has(certificate.serial))) throw refused('it was revoked');
}

export function requireTime({ x509 }: Certificate, now: number): void {
  if (x509.validToDate.getTime() < now) throw refused('it has expired');
  if (x509.validFromDate.getTime() > now) throw refused('it is not valid yet');
}

function isInTime({ x509 }: Certificate, now: number): boolean {
  return x509.validFromDate.getTime() <= now && x509.validToDate.getTime() >= now;
}

export function requireUnderstood({ critical }: Certificate): void {
  const unknown = critical.find((type) => !UNDERSTOOD.includes(type));
  if (unknown !== undefined) throw refused(`its critical extension ${unknown} is not understood`);
}

/** Keys of people and of their proxies; how long those of authorities are is the federation's business. */
export function requireStrong({ x509, weaklySigned }: Certificate): void {
  const { asymmetricKeyType, asymmetricKeyDetails } = x509.publicKey;
  if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) < SMALLEST_RSA_BITS)
    throw refused(`its RSA key has fewer than ${SMALLEST_RSA_BITS} bits`);
  if (weaklySigned) throw refused('it was signed with MD5 or SHA-1');
}

/** `CN=proxy` without the extension of RFC 3820 is what Globus 2 made. */
function legacyHint(certificate: Certificate, issuer: Certificate): string {
  const last = certificate.relativeNames.at(-1)?.attributes[0]?.text ?? '';
  const extended = certificate.relativeNames.length === issuer.relativeNames.length + 1;
  return extended && /^(limited )?proxy$/.test(last)
    ? 'it is a legacy proxy: make one of RFC 3820 (voms-proxy-init -rfc)'
    : 'a certificate was issued by one that is no authority';
}

/** @throws {WeftError} `unauthenticated`, code `invalid_certificate`, when it cannot be read */
export function parse(x509: X509Certificate): Certificate {
  try {
    return readCertificate(x509);
  } catch (error) {
    if (error instanceof RangeError) throw refused(`it is malformed: ${error.message}`);
    throw error;
  }
}

/** The error of every refused certificate. */
export function refused(reason: string): WeftError {
  return new WeftError(
    'unauthenticated',
    'invalid_certificate',
    `The client certificate is not valid: ${reason}.`,
  );
}
