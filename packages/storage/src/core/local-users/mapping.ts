import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Principal } from '@weft/kernel/auth';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';

/** One way from a federated user to the name of a local account; nothing when it does not know the user. */
export interface MappingMethod {
  readonly name: string;
  find(principal: Principal): Promise<string | undefined>;
}

export interface Mapping {
  /** Name of the local account. @throws {WeftError} `forbidden`, code `unmapped-user`; `unavailable`. */
  accountOf(principal: Principal): Promise<string>;
  /** What was answered about a user before a change does not hold any more: the next request asks anew. */
  forget(issuer: string, subject: string, changedAt: Date): void;
}

const POSITIVE_MILLISECONDS = 5 * 60 * 1000;
const NEGATIVE_MILLISECONDS = 30 * 1000;
/** How long an answer may serve while the method that gave it cannot be asked. */
const STALE_MILLISECONDS = 60 * 60 * 1000;
const MAXIMUM_KNOWN = 10_000;
/** How far the clock of the service that maps may be from ours. */
const CLOCKS_MILLISECONDS = 60_000;

interface Known {
  /** `issuer subject` */
  readonly identity: string;
  readonly account: string | undefined;
  readonly at: number;
}

/** Asks each method in turn; the first that knows the user decides (brief teapot 3.3). */
export function createMapping(
  methods: readonly MappingMethod[],
  options: { log: Logger; linkUrl?: string },
): Mapping {
  const known = new Map<string, Known>();
  /** Grows with each change that is heard of; an answer from before one is used, but not remembered. */
  let changes = 0;

  async function ask(method: MappingMethod, principal: Principal): Promise<string | undefined> {
    const key = cacheKey(method, principal);
    const cached = known.get(key);
    const age = cached ? Date.now() - cached.at : Number.POSITIVE_INFINITY;
    if (cached && age < (cached.account === undefined ? NEGATIVE_MILLISECONDS : POSITIVE_MILLISECONDS))
      return cached.account;
    try {
      const before = changes;
      const account = await method.find(principal);
      if (before !== changes) return account;
      known.delete(key);
      known.set(key, { identity: identityOf(principal.issuer, principal.subject), account, at: Date.now() });
      for (const oldest of known.keys()) {
        if (known.size <= MAXIMUM_KNOWN) break;
        known.delete(oldest);
      }
      return account;
    } catch (cause) {
      options.log.warn({ method: method.name, error: describeError(cause) }, 'users cannot be mapped');
      if (cached?.account !== undefined && age < STALE_MILLISECONDS) return cached.account;
      // Not passed over: a later method might give the user another account than the site wants.
      throw new WeftError('unavailable', 'mapping', 'Local accounts cannot be looked up now; try again.', {
        cause,
      });
    }
  }

  return {
    async accountOf(principal) {
      for (const method of methods) {
        const account = await ask(method, principal);
        if (account !== undefined) return account;
      }
      const hint = options.linkUrl === undefined ? '' : ` Link one at ${options.linkUrl}.`;
      throw new WeftError('forbidden', 'unmapped-user', `You have no local account here.${hint}`);
    },
    forget(issuer, subject, changedAt) {
      changes += 1;
      const identity = identityOf(issuer, subject);
      const before = changedAt.getTime() + CLOCKS_MILLISECONDS;
      for (const [key, entry] of known)
        if (entry.identity === identity && entry.at < before) known.delete(key);
    },
  };
}

/** Two spellings of an issuer differ by a slash at the end, if at all (brief alise-aai 2.1). */
export function identityOf(issuer: string, subject: string): string {
  return `${issuer.replace(/\/$/, '')} ${subject}`;
}

/** With what the methods look at besides issuer and subject: groups may differ from token to token. */
function cacheKey(method: MappingMethod, principal: Principal): string {
  const { issuer, subject, groups, entitlements, profile } = principal;
  const text = JSON.stringify([method.name, issuer, subject, groups, entitlements, profile]);
  return createHash('sha256').update(text).digest('base64');
}

/** ALISE API v1: Weft's account linking, or an original. */
export function aliseMethod(
  find: (issuer: string, subject: string) => Promise<string | undefined>,
): MappingMethod {
  return { name: 'alise', find: ({ issuer, subject }) => find(issuer, subject) };
}

/**
 * Lines `account subject issuer`, as Teapot's. Without an issuer (Teapot's own form) a line speaks of `soleIssuer`, and of
 * nobody when several are trusted: a `sub` means nothing without who gave it. Read again when the file has changed.
 */
export function fileMethod(file: string, soleIssuer: string | undefined): MappingMethod {
  let read: { modified: number; accounts: Map<string, string> } | undefined;
  return {
    name: `file:${file}`,
    async find({ issuer, subject }) {
      const { mtimeMs } = await stat(file);
      if (read?.modified !== mtimeMs) {
        read = { modified: mtimeMs, accounts: parseMappingFile(await readFile(file, 'utf8'), soleIssuer) };
      }
      return read.accounts.get(`${issuer} ${subject}`);
    },
  };
}

/** Accounts by `issuer subject`; the first line about somebody counts. */
export function parseMappingFile(text: string, soleIssuer: string | undefined): Map<string, string> {
  const accounts = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [account, subject, issuer = soleIssuer] = line.trim().split(/\s+/);
    if (!account || account.startsWith('#') || subject === undefined || issuer === undefined) continue;
    const key = `${issuer} ${subject}`;
    if (!accounts.has(key)) accounts.set(key, account);
  }
  return accounts;
}

/** Groups and entitlements; what stands after `#` names who says so and is not compared. */
export function groupMethod(
  issuer: string,
  pairs: readonly { readonly group: string; readonly account: string }[],
): MappingMethod {
  const bare = (group: string) => group.split('#', 1)[0];
  return {
    name: `group:${issuer}`,
    find: async (principal) => {
      if (principal.issuer !== issuer) return undefined;
      const held = new Set([...principal.groups, ...principal.entitlements].map(bare));
      return pairs.find(({ group }) => held.has(bare(group)))?.account;
    },
  };
}

/** A claim of an issuer that has authority over local names; `pattern`'s first group is the account. */
export function claimMethod(issuer: string, claim: string, pattern: RegExp): MappingMethod {
  return {
    name: `claim:${issuer}:${claim}`,
    find: async (principal) => {
      if (principal.issuer !== issuer) return undefined;
      return pattern.exec(principal.profile[claim] ?? '')?.[1];
    },
  };
}
