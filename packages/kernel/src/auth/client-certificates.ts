import type { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import { describeError, WeftError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { parsePathScope } from './path-scope.ts';
import type { Revocations } from './revocations.ts';
import type { Principal } from './types.ts';
import { type Authorities, fingerprintFolder, readAuthorities } from './x509/authorities-folder.ts';
import { judgeChain } from './x509/validate-chain.ts';
import { groupOf, readVomsAttributes } from './x509/voms.ts';
import { readVomsServers, type VomsServers } from './x509/voms-folder.ts';

export interface ClientCertificatesOptions {
  /** `/etc/grid-security/certificates`: authorities, revocation lists, signing policies. */
  authoritiesFolder: string;
  /** `/etc/grid-security/vomsdir`; without it VOMS attributes are not looked at. */
  vomsFolder?: string | undefined;
  /** Refuse certificates of authorities that have no revocation list. Default: take them. */
  requireRevocationLists?: boolean;
  /** Refuse a caller whose VOMS attributes do not hold. Default: leave the attributes out. */
  requireValidAttributes?: boolean;
  /** What this service is called, for attributes that are meant for some hosts only. */
  hosts?: readonly string[];
  /** Scopes for callers by what their certificates say; without any they have none. */
  grants?: readonly CertificateGrant[];
  /** Of certificates by subject: `issuer` is the name of the authority, both in one-line form. */
  revocations?: Revocations;
  log: Logger;
  /** How often the folders are looked at. Default: a minute. */
  lookMilliseconds?: number;
  /** Milliseconds since 1970; for tests. */
  now?: () => number;
}

/** What callers with a certificate may do, in the scopes that tokens have. */
export interface CertificateGrant {
  /** One-line form. */
  readonly subject?: string | undefined;
  /** `/vo/group`, or `/vo/group/Role=production` for those who have the role. */
  readonly group?: string | undefined;
  /** URLs of the listeners where it counts; without them it counts at all that ask for certificates. */
  readonly audiences?: readonly string[] | undefined;
  readonly scopes: readonly string[];
}

/** Who is at the other end of a connection, or why the certificate that came is not taken. */
export type ClientVerdict = { readonly principal: Principal } | { readonly refusal: WeftError };

/** Knows callers by their client certificates (brief alise-aai 3.7). */
export interface ClientCertificates {
  /** Of one listener, by its URL. */
  at(url: string): ClientIdentification;
  close(): void;
}

export interface ClientIdentification {
  /** `undefined` without a certificate. Whoever presents a bad one is as anonymous as whoever presents none. */
  identify(socket: unknown): Promise<ClientVerdict | undefined>;
}

interface Trusted {
  readonly authorities: Authorities;
  readonly servers: ReadonlyMap<string, VomsServers>;
  readonly fingerprint: string;
}

interface Judged {
  readonly trusted: Trusted;
  readonly chain: readonly X509Certificate[];
  readonly verdict: ClientVerdict;
  /** Milliseconds since 1970. */
  readonly until: number;
}

const LOOK_MILLISECONDS = 60_000;
/** A verdict about a connection is made anew after so long, since revocation lists age. */
const VERDICT_MILLISECONDS = 5 * 60_000;

/**
 * Reads whom to trust, and follows the folders: authorities, policies and fresh revocation lists count from the next look
 * on, also on connections that are open. If the folders cannot be read later, the last that was read stays in force.
 *
 * @example
 * const certificates = await createClientCertificates({ authoritiesFolder: '/etc/grid-security/certificates', log });
 * const app = createListener({ log, tls, clientCertificates: certificates.at('https://localhost:8446') });
 * app.get('/', async (request) => (await authenticate(request, verifier, audiences)).subject);
 * @throws {Error} when a folder cannot be read at the start
 */
export async function createClientCertificates(
  options: ClientCertificatesOptions,
): Promise<ClientCertificates> {
  const { authoritiesFolder, vomsFolder, revocations, log, now = Date.now } = options;
  const grants = (options.grants ?? []).map((grant) => ({
    ...grant,
    pathScopes: grant.scopes.flatMap((scope) => parsePathScope(scope) ?? []),
  }));

  async function fingerprint(): Promise<string> {
    const voms = vomsFolder === undefined ? '' : await fingerprintFolder(vomsFolder, 1);
    return `${await fingerprintFolder(authoritiesFolder)}\n\n${voms}`;
  }

  async function read(): Promise<Trusted> {
    const seen = await fingerprint();
    const authorities = await readAuthorities(authoritiesFolder, log);
    const servers = vomsFolder === undefined ? new Map() : await readVomsServers(vomsFolder, log);
    log.info(
      {
        authorities: authorities.anchors.length,
        lists: authorities.revocationLists.length,
        vos: servers.size,
      },
      'authorities of client certificates were read',
    );
    return { authorities, servers, fingerprint: seen };
  }

  let trusted = await read();
  let looking = false;
  async function look(): Promise<void> {
    if (looking) return;
    looking = true;
    try {
      if ((await fingerprint()) !== trusted.fingerprint) trusted = await read();
    } catch (error) {
      log.warn(
        { reason: describeError(error) },
        'authorities of client certificates cannot be read now; the last ones stay in force',
      );
    } finally {
      looking = false;
    }
  }
  const timer = setInterval(look, options.lookMilliseconds ?? LOOK_MILLISECONDS);
  timer.unref();

  function judge(chain: readonly X509Certificate[], url: string, time: number): Judged {
    const trust = {
      ...trusted.authorities,
      requireRevocationLists: options.requireRevocationLists ?? false,
      now: time,
    };
    try {
      const judged = judgeChain(chain, trust);
      const hosts = options.hosts?.map((host) => host.toLowerCase()) ?? [];
      const { attributes, refusals } =
        vomsFolder === undefined
          ? { attributes: [], refusals: [] }
          : readVomsAttributes(judged, { ...trust, servers: trusted.servers, hosts });
      const { subject, issuer, proxies, limited } = judged.identity;
      const [refusal] = refusals;
      if (refusal !== undefined) {
        if (options.requireValidAttributes) throw refusal;
        log.info({ subject, reason: refusal.message }, 'VOMS attributes are left out');
      }
      const fqans = attributes.flatMap((each) => each.fqans);
      const expiresAt = new Date(
        Math.min(...[judged.identity, ...attributes].map((each) => each.expiresAt.getTime())),
      );
      const groups = [...new Set(fqans.map(groupOf))];
      const own = grants.filter(
        (grant) =>
          (grant.audiences?.includes(url) ?? true) &&
          (grant.subject === subject ||
            (grant.group !== undefined && [...groups, ...fqans].includes(grant.group))),
      );
      const principal: Principal = Object.freeze({
        kind: 'certificate',
        issuer,
        subject,
        clientId: undefined,
        scopes: new Set(own.flatMap(({ scopes }) => scopes)),
        pathScopes: Object.freeze(own.flatMap(({ pathScopes }) => pathScopes)),
        groups: Object.freeze(groups),
        entitlements: Object.freeze([]),
        assurance: new Set<string>(),
        audience: Object.freeze([]),
        expiresAt,
        jti: undefined,
        actors: Object.freeze([]),
        profile: Object.freeze({}),
        certificate: Object.freeze({ proxies, limited, vo: attributes[0]?.vo, fqans: Object.freeze(fqans) }),
      });
      const until = Math.min(expiresAt.getTime(), time + VERDICT_MILLISECONDS);
      return { trusted, chain, verdict: { principal }, until };
    } catch (error) {
      if (!(error instanceof WeftError) || error.kind !== 'unauthenticated') throw error;
      log.info({ reason: error.message }, 'a client certificate is not taken');
      return { trusted, chain, verdict: { refusal: error }, until: time + VERDICT_MILLISECONDS };
    }
  }

  async function isRevoked(
    { issuer, subject }: Principal,
    chain: readonly X509Certificate[],
  ): Promise<boolean> {
    const issuedAt = Math.floor((chain[0]?.validFromDate.getTime() ?? 0) / 1000);
    const token = { issuer, subject, jti: undefined, keyId: undefined, issuedAt };
    return (await revocations?.isRevoked(token)) === true;
  }

  return {
    at(url) {
      const known = new WeakMap<TLSSocket, Judged>();
      return {
        async identify(socket) {
          if (!(socket instanceof TLSSocket)) return undefined;
          const time = now();
          let judged = known.get(socket);
          if (judged === undefined || judged.trusted !== trusted || judged.until <= time) {
            const chain = chainOf(socket);
            if (chain.length === 0) return undefined;
            judged = judge(chain, url, time);
            known.set(socket, judged);
          }
          const { chain, verdict } = judged;
          return 'principal' in verdict && (await isRevoked(verdict.principal, chain))
            ? { refusal: REVOKED_HERE }
            : verdict;
        },
      };
    },
    close: () => clearInterval(timer),
  };
}

const REVOKED_HERE = new WeftError(
  'unauthenticated',
  'invalid_certificate',
  'The client certificate is not valid: it was revoked here.',
);

/**
 * The certificates of a full handshake, the client's first. A resumed session has only the first, and what a stranger
 * could do with that is not worth finding out: listeners that ask for certificates resume none (brief alise-aai 9.2).
 */
function chainOf(socket: TLSSocket): X509Certificate[] {
  if (socket.isSessionReused()) return [];
  const chain: X509Certificate[] = [];
  let next = socket.getPeerX509Certificate();
  // Ends at a root, whose issuer Node says is itself.
  while (next !== undefined && !chain.some(({ fingerprint256 }) => fingerprint256 === next?.fingerprint256)) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}
