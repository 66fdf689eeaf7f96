import { WeftError } from '../../errors/index.ts';
import {
  type AttributeCertificate,
  readAttributeCertificates,
  VOMS_EXTENSION,
} from './attribute-certificate.ts';
import { type Certificate, oneLine } from './certificate.ts';
import { parse, requirePath, type Trust } from './certification-path.ts';
import { isSigned } from './revocation-list.ts';
import { canonicalName } from './signing-policy.ts';
import type { JudgedChain } from './validate-chain.ts';
import type { VomsServers } from './voms-folder.ts';

/** What a VO says about the holder of a certificate. */
export interface VomsAttributes {
  readonly vo: string;
  /** Without `Role=NULL` and `Capability=NULL`; the first is the primary one. */
  readonly fqans: readonly string[];
  readonly expiresAt: Date;
}

export interface VomsTrust extends Trust {
  /** By VO. */
  readonly servers: ReadonlyMap<string, VomsServers>;
  /** What this service is called, for attributes that are meant for some hosts only. */
  readonly hosts?: readonly string[];
}

/** Servers' clocks and ours disagree by so much at most (brief alise-aai 3.8). */
const CLOCK_SKEW_MILLISECONDS = 60_000;

/**
 * The VOMS attributes in a chain that holds: those of the proxy nearest to the caller that has any, one entry for each VO.
 * What does not hold is left out, with the reason in `refusals`, and takes nothing from who the caller is.
 */
export function readVomsAttributes(
  chain: JudgedChain,
  trust: VomsTrust,
): { attributes: VomsAttributes[]; refusals: WeftError[] } {
  const extension = chain.proxies
    .map((proxy) => proxy.extension(VOMS_EXTENSION))
    .find((found) => found !== undefined);
  const attributes: VomsAttributes[] = [];
  const refusals: WeftError[] = [];
  const collect = (work: () => void) => {
    try {
      work();
    } catch (error) {
      if (error instanceof RangeError) refusals.push(unfit(`they are malformed: ${error.message}`));
      else if (error instanceof WeftError && error.kind === 'unauthenticated') refusals.push(error);
      else throw error;
    }
  };
  collect(() => {
    for (const found of extension === undefined ? [] : readAttributeCertificates(extension))
      collect(() => attributes.push(requireAttributes(found, chain.entity, trust)));
  });
  return { attributes, refusals };
}

function requireAttributes(
  found: AttributeCertificate,
  entity: Certificate,
  trust: VomsTrust,
): VomsAttributes {
  const { now = Date.now(), hosts = [] } = trust;
  const vo = requireVo(found);
  const servers = trust.servers.get(vo);
  if (servers === undefined) throw unfit(`the VO ${vo} is not known here`);
  requireServer(found, servers, trust);
  // VOMS names the holder by the issuer of the certificate (RFC 5755 4.2.2), its older tools by the subject.
  const isHolder =
    found.holderSerial === entity.serial &&
    (found.holderIssuer.equals(entity.issuer) || found.holderIssuer.equals(entity.subject));
  if (!isHolder) throw unfit('they belong to somebody else');
  if (found.notBefore > now + CLOCK_SKEW_MILLISECONDS) throw unfit('they are not valid yet');
  if (found.notAfter < now - CLOCK_SKEW_MILLISECONDS) throw unfit('they have expired');
  const [unknown] = found.unknown;
  if (unknown !== undefined) throw unfit(`their critical extension ${unknown} is not understood`);
  if (found.targets !== undefined && !found.targets.some((target) => hosts.includes(target.toLowerCase())))
    throw unfit('they are meant for other hosts');
  return { vo, fqans: found.fqans.map(normaliseFqan), expiresAt: new Date(found.notAfter) };
}

const FQAN = /^(?:\/[A-Za-z0-9_][A-Za-z0-9_.-]*)+(?:\/Role=[\w.-]+)?(?:\/Capability=[\w.-]+)?$/;

/** The VO is the first part of every attribute, and what the server calls itself: `vo://host:port`. */
function requireVo({ fqans, policyAuthority }: AttributeCertificate): string {
  const [, vo] = /^([^:]+):\/\//.exec(policyAuthority) ?? [];
  if (vo === undefined || !/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(vo)) throw unfit('they name no VO');
  if (fqans.length === 0) throw unfit('there are none');
  if (!fqans.every((fqan) => FQAN.test(fqan) && (fqan === `/${vo}` || fqan.startsWith(`/${vo}/`))))
    throw unfit(`some are not those of the VO ${vo}`);
  return vo;
}

/** The signature, and that the one who made it may speak for the VO: by name (LSC), or by certificate. */
function requireServer(found: AttributeCertificate, servers: VomsServers, trust: Trust): void {
  const sent = found.certificates.map(parse);
  const candidates = [...servers.certificates.map(parse), ...sent];
  const server = candidates.find(
    (candidate) =>
      candidate.subject.equals(found.issuer) &&
      isSigned(found.content, found.algorithm, found.signature, candidate.x509.publicKey),
  );
  if (server === undefined)
    throw unfit('their signature is wrong, or the certificate of the server is missing');
  if (!server.maySign || server.proxy !== undefined || server.isAuthority)
    throw unfit('their server may not sign');
  const authorities = requireServerPath(server, sent, trust);
  if (servers.certificates.some(({ raw }) => raw.equals(server.x509.raw))) return;
  const names = [server, ...authorities].map((certificate) => canonicalName(oneLine(certificate)));
  if (!servers.chains.some((chain) => chain.every((name, index) => name === names[index])))
    throw unfit(`${names[0]} is not a server of this VO`);
}

function requireServerPath(
  server: Certificate,
  sent: readonly Certificate[],
  trust: Trust,
): readonly Certificate[] {
  try {
    return requirePath(server, sent, trust);
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    throw unfit(`the certificate of their server ${oneLine(server)} does not hold. ${error.message}`);
  }
}

/** `/vo/group/Role=NULL/Capability=NULL` → `/vo/group`. */
function normaliseFqan(fqan: string): string {
  return fqan.replace(/\/Capability=NULL$/, '').replace(/\/Role=NULL(?=$|\/)/, '');
}

/** `/vo/group/Role=production` → `/vo/group`: whoever has a role in a group is in it. */
export function groupOf(fqan: string): string {
  return fqan.replace(/\/Role=.*$/, '').replace(/\/Capability=.*$/, '');
}

function unfit(reason: string): WeftError {
  return new WeftError(
    'unauthenticated',
    'invalid_attributes',
    `The VOMS attributes are not valid: ${reason}.`,
  );
}
