import type { Principal } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { shortHash } from './identifiers.ts';

/** Whoever asks, as this protocol sees them (brief fts 2.2, 2.4). */
export interface Caller {
  /** `sub` of the token. */
  readonly userDn: string;
  readonly delegationId: string;
  readonly vo: string;
  readonly scopes: readonly string[];
  /** How far `transfer` reaches: the whole VO, own jobs, or not at all (docs/seams.md). */
  readonly transfer: 'vo' | 'own' | 'none';
}

export interface VoMapping {
  readonly vo_of_issuer: Readonly<Record<string, string>>;
}

const WHOLE_VO = 'fts';
const OWN_JOBS = 'fts:submit-transfer';

/** VO: the map of issuers, then the token's first group, then the issuer's host. */
export function callerOf(principal: Principal, mapping: VoMapping): Caller {
  const { issuer, subject, scopes } = principal;
  return {
    userDn: subject,
    delegationId: shortHash(issuer + subject),
    vo: mapping.vo_of_issuer[issuer] ?? principal.groups[0]?.replace(/^\//, '') ?? hostOf(issuer),
    scopes: [...scopes],
    transfer: scopes.has(WHOLE_VO) ? 'vo' : scopes.has(OWN_JOBS) ? 'own' : 'none',
  };
}

function hostOf(issuer: string): string {
  return URL.canParse(issuer) ? new URL(issuer).hostname : issuer;
}

/** Whose a job is: enough of it to decide who may see and change it. */
export interface Ownership {
  readonly vo_name: string;
  readonly cred_id: string;
}

export function mayAccess(caller: Caller, job: Ownership): boolean {
  if (caller.transfer === 'none' || job.vo_name !== caller.vo) return false;
  return caller.transfer === 'vo' || job.cred_id === caller.delegationId;
}

/** @throws {WeftError} `forbidden` when the caller has no right to transfer at all. */
export function requireTransfer(caller: Caller | undefined): Caller {
  if (caller === undefined || caller.transfer === 'none') {
    throw new WeftError(
      'forbidden',
      'not-enough-permissions',
      caller === undefined
        ? 'Not enough permissions: authenticate with a bearer token.'
        : `Not enough permissions: the token needs scope ${OWN_JOBS} or ${WHOLE_VO}.`,
    );
  }
  return caller;
}
