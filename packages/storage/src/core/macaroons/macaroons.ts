import { randomBytes } from 'node:crypto';
import { invalidToken, isPrefix, type Revocations, type StorageOperation } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { rightsAllow } from '../authorise.ts';
import type { Caller } from '../caller.ts';
import { encodePath } from '../resource-path.ts';
import type { Segments } from '../segments.ts';
import { ACTIVITIES, type Activity, findViolation, readCaveats } from './bounds.ts';
import { addCaveat, isSignedWith, type Macaroon, makeMacaroon } from './macaroon.ts';
import { parseMacaroon, printMacaroon } from './macaroon-format.ts';
import type { MacaroonGrants } from './macaroon-grants.ts';
import type { MacaroonKeys } from './macaroon-keys.ts';

/** What somebody asks a macaroon for. */
export interface MacaroonRequest {
  readonly target: Segments;
  /** Nothing: all that the caller may do there. */
  readonly activities: ReadonlySet<Activity> | undefined;
  /** Further caveats, checked, in their own words. */
  readonly caveats: readonly string[];
  readonly lifetimeSeconds: number;
}

export interface MadeMacaroon {
  readonly text: string;
  readonly expiresAt: Date;
  readonly activities: readonly Activity[];
}

export interface Macaroons {
  /** @throws {WeftError} `forbidden`, when the caller may do none of it, or came with what cannot make macaroons. */
  make(caller: Caller, request: MacaroonRequest): Promise<MadeMacaroon>;
  /** Who made it, bounded by its caveats. @throws {WeftError} `unauthenticated`, code `invalid_token`. */
  verify(text: string, address: string): Promise<Caller>;
}

export interface MacaroonsOptions {
  readonly keys: MacaroonKeys;
  readonly grants: MacaroonGrants;
  readonly revocations: Pick<Revocations, 'isRevoked'>;
  /** Our URL. */
  readonly location: string;
  readonly maximumLifetimeSeconds: number;
}

/**
 * Macaroons of one instance (brief teapot 2.6). A macaroon names the key that signs it and the grant that it stands on:
 * the rights of whoever asked, as they were. What it allows is what both the grant and every caveat allow, as the same
 * local account; it ends with the user or the token that made it, when that is revoked.
 */
export function createMacaroons(options: MacaroonsOptions): Macaroons {
  const { keys, grants, revocations, location, maximumLifetimeSeconds } = options;

  async function makeFirst(
    caller: Caller,
    caveats: readonly string[],
    terms: { keyId: string | undefined; expiresAt: Date },
  ): Promise<Macaroon> {
    const key = await keys.current();
    const grant = await grants.make(caller, terms);
    const identifier = `${key.id}.${grant}.${randomBytes(9).toString('base64url')}`;
    return makeMacaroon(key.bytes, { location, identifier, caveats });
  }

  return {
    async make(caller, request) {
      if (caller.anonymous)
        throw new WeftError('unauthenticated', 'missing_token', 'A bearer token is needed.');
      if (caller.kind === 'api-key' && !caller.macaroon) {
        throw new WeftError(
          'forbidden',
          'app-password',
          'An app password cannot make a macaroon; use a token.',
        );
      }
      const wanted = [...(request.activities ?? ACTIVITIES)];
      const activities = wanted.filter((activity) => mayHold(caller, activity, request.target));
      if (activities.length === 0) {
        throw new WeftError(
          'forbidden',
          'insufficient_scope',
          `You may do nothing of ${wanted.join(', ')} at ${encodePath(request.target)} yourself.`,
        );
      }
      const lifetime = Math.min(request.lifetimeSeconds, maximumLifetimeSeconds);
      const expiresAt = new Date(Math.floor(Date.now() / 1000 + lifetime) * 1000);
      const narrowing = [
        `activity:${activities.join(',')}`,
        `before:${expiresAt.toISOString().replace('.000Z', 'Z')}`,
        ...request.caveats,
      ];
      const { macaroon, bounds } = caller;
      if (!macaroon || !bounds) {
        const caveats = [`path:${encodePath(request.target)}`, ...narrowing];
        const made = await makeFirst(caller, caveats, { keyId: caller.keyId, expiresAt });
        return { text: printMacaroon(made), expiresAt: readCaveats(made.caveats).expiresAt, activities };
      }
      // What a macaroon makes is itself with more caveats, so that it cannot be worth more.
      if (!isPrefix(bounds.path, request.target)) throw outside(request.target);
      const below = request.target.slice(bounds.path.length);
      const further = below.length > 0 ? [`path:${encodePath(below)}`, ...narrowing] : narrowing;
      const made = further.reduce(addCaveat, macaroon);
      return { text: printMacaroon(made), expiresAt: readCaveats(made.caveats).expiresAt, activities };
    },

    async verify(text, address) {
      const macaroon = parseMacaroon(text);
      const { keyId, grantId } = readIdentifier(macaroon.identifier);
      const key = await keys.find(keyId);
      if (!key || !isSignedWith(macaroon, key.bytes))
        throw invalidToken('the signature of the macaroon is wrong');
      const bounds = boundsOf(macaroon);
      const violation = findViolation(bounds, { address, now: new Date() });
      if (violation !== undefined) throw invalidToken(violation);
      const grant = await grants.find(grantId);
      if (!grant) throw invalidToken('the macaroon was revoked');
      const { principal } = grant;
      const issuedAt = grant.createdAt.getTime() / 1000;
      if (await revocations.isRevoked({ ...principal, keyId: grant.keyId, issuedAt }))
        throw invalidToken('what made the macaroon was revoked');
      return Object.freeze({
        ...principal,
        expiresAt: bounds.expiresAt,
        keyId: grant.keyId,
        bounds,
        macaroon,
      });
    },
  };
}

/** Ours are `<key>.<grant>.<nonce>`. */
function readIdentifier(identifier: string): { keyId: string; grantId: string } {
  const [, keyId, grantId] = /^([0-9a-f]{12})\.(\d{1,18})\.[\w-]{12}$/.exec(identifier) ?? [];
  if (keyId === undefined || grantId === undefined) throw invalidToken('the macaroon was not made here');
  return { keyId, grantId };
}

/** A holder may have added what we do not understand: then nothing of the macaroon can be relied on. */
function boundsOf({ caveats }: Macaroon) {
  try {
    return readCaveats(caveats);
  } catch (error) {
    if (error instanceof WeftError && error.kind === 'invalid')
      throw invalidToken('a caveat of the macaroon is not understood', error);
    throw error;
  }
}

/** What each activity asks of the scopes of whoever wants to give it away. */
const ASKS: Readonly<Record<Activity, StorageOperation>> = {
  READ_METADATA: 'stat',
  UPDATE_METADATA: 'overwrite',
  LIST: 'list',
  DOWNLOAD: 'read-data',
  UPLOAD: 'create',
  DELETE: 'delete',
  MANAGE: 'create',
  STAGE: 'stage',
};

function mayHold(caller: Caller, activity: Activity, target: Segments): boolean {
  const { bounds } = caller;
  if (bounds && !bounds.activities.has(activity)) return false;
  return rightsAllow(caller, ASKS[activity], target, { collection: true });
}

function outside(target: Segments): WeftError {
  return new WeftError(
    'forbidden',
    'insufficient_scope',
    `The macaroon does not reach to ${encodePath(target)}.`,
  );
}
