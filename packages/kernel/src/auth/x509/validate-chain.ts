import type { X509Certificate } from 'node:crypto';
import { type Certificate, COMMON_NAME, oneLine, PROXY_LANGUAGE } from './certificate.ts';
import {
  issuerOf,
  LONGEST_CHAIN,
  parse,
  refused,
  requirePath,
  requireStrong,
  requireTime,
  requireUnderstood,
  type Trust,
} from './certification-path.ts';

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

/** A chain that holds: the identity, and the certificates that carry it. */
export interface JudgedChain {
  readonly identity: CertificateIdentity;
  /** The caller's own first. */
  readonly proxies: readonly Certificate[];
  readonly entity: Certificate;
}

const LARGEST_CHAIN_BYTES = 64 * 1024;

/**
 * Judges a chain as a peer sent it, leaf first: RFC 3820 proxies down to the end-entity certificate, RFC 5280 from there to
 * an anchor (brief alise-aai 3.7). Node's own verdict knows no proxies and is not asked. Where the house is stricter than
 * OpenSSL stands in docs/client-certificates.md.
 *
 * @example
 * const { subject } = validateChain(certificates, { anchors });
 * @throws {WeftError} `unauthenticated`, code `invalid_certificate`
 */
export function validateChain(sent: readonly X509Certificate[], trust: Trust): CertificateIdentity {
  return judgeChain(sent, trust).identity;
}

/** `validateChain`, with the certificates themselves for whoever looks into them. */
export function judgeChain(sent: readonly X509Certificate[], trust: Trust): JudgedChain {
  const { now = Date.now() } = trust;
  if (sent.length > LONGEST_CHAIN || sent.reduce((sum, { raw }) => sum + raw.length, 0) > LARGEST_CHAIN_BYTES)
    throw refused('the chain is too long');
  const [first, ...others] = sent.map(parse);
  if (first === undefined) throw refused('there is no certificate');

  let current = first;
  const proxies: Certificate[] = [];
  while (current.proxy !== undefined) {
    requireTime(current, now);
    requireStrong(current);
    const issuer = issuerOf(current, others, now);
    requireProxy(current, issuer, proxies.length);
    proxies.push(current);
    if (proxies.length === LONGEST_CHAIN) throw refused('the chain is too long');
    current = issuer;
  }
  if (current.isAuthority) throw refused('an authority is nobody’s identity');
  if (!current.maySign || !current.mayBeClient) throw refused('it is not for the clients of a connection');
  const [authority] = requirePath(current, others, trust);
  const identity = {
    subject: oneLine(current),
    issuer: oneLine(authority),
    expiresAt: new Date(Math.min(...[...proxies, current].map(({ x509 }) => x509.validToDate.getTime()))),
    proxies: proxies.length,
    limited: proxies.some(({ proxy }) => proxy?.language === PROXY_LANGUAGE.limited),
  };
  return { identity, proxies, entity: current };
}

/** Languages in which a proxy acts for its user: with all rights, or without that of starting jobs. */
const INHERITING: readonly string[] = [PROXY_LANGUAGE.inheritAll, PROXY_LANGUAGE.limited];

/** Rules (a) to (e) of brief alise-aai 3.7 for one proxy, below which `below` others stand. */
function requireProxy(proxy: Certificate, issuer: Certificate, below: number): void {
  const info = proxy.proxy;
  if (info === undefined || !proxy.proxyInfoIsCritical)
    throw refused('its proxy information is not critical');
  if (info.language === PROXY_LANGUAGE.independent)
    throw refused('an independent proxy has none of its user’s rights');
  if (!INHERITING.includes(info.language)) throw refused('a proxy has an unknown policy language');
  if (proxy.isAuthority || issuer.isAuthority) throw refused('an authority takes part in a proxy');
  if (proxy.hasAlternativeNames) throw refused('a proxy has alternative names');
  if (!proxy.maySign || !issuer.maySign) throw refused('a key may not sign');
  if (!proxy.mayBeClient) throw refused('it is not for the clients of a connection');
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
