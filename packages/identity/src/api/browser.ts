import { createHash, timingSafeEqual } from 'node:crypto';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { newSecret } from '../core/hashes.ts';
import type { Realm } from '../core/realm.ts';
import { beginSession, endSession, findSession, type Session } from '../core/sessions.ts';
import type { IdentityTables } from '../db/schema.ts';

/** One browser at one realm: its session, and the token that proves that a form came from our own page. */
export interface Browser {
  readonly session: Session | undefined;
  /** Stands in every form as `csrf`. */
  readonly csrf: string;
  /** Starts a session under a new identifier; an older one ends, so that a planted one gains nothing. */
  signIn(subject: string): Promise<void>;
  signOut(): Promise<void>;
}

/** `__Host-` cookies: this host only, TLS only. The realm keeps two issuers of one host apart (cookies know no ports). */
const cookieNames = (realm: Realm) => ({
  session: `__Host-weft-${realm.name}-session`,
  browser: `__Host-weft-${realm.name}-browser`,
});

/** Reads the browser's cookies, and gives it one for forms if it has none. */
export async function openBrowser(
  realm: Realm,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Browser> {
  const names = cookieNames(realm);
  const cookies = readCookies(request.headers.cookie);
  const sql = realm.database.withTables<IdentityTables>();
  const known = cookies.get(names.browser);
  const browser = known ?? newSecret();
  if (known === undefined) setCookie(reply, names.browser, browser);
  return {
    session: await findSession(sql, realm.name, cookies.get(names.session)),
    csrf: csrfOf(browser),
    async signIn(subject) {
      await endSession(sql, cookies.get(names.session));
      setCookie(reply, names.session, await beginSession(sql, realm.name, subject));
      setCookie(reply, names.browser, newSecret());
    },
    async signOut() {
      await endSession(sql, cookies.get(names.session));
      setCookie(reply, names.session, '', 0);
    },
  };
}

/**
 * Requires that a form came from a page that this browser got from us.
 * @throws {WeftError} `forbidden`
 */
export function requireOwnForm(realm: Realm, request: FastifyRequest, form: URLSearchParams): void {
  const browser = readCookies(request.headers.cookie).get(cookieNames(realm).browser);
  const expected = browser === undefined ? undefined : Buffer.from(csrfOf(browser));
  const given = Buffer.from(form.get('csrf') ?? '');
  if (expected === undefined || given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new WeftError(
      'forbidden',
      'stale-form',
      'This page is too old, or it was not ours. Go back and try again.',
    );
  }
}

function csrfOf(browser: string): string {
  return createHash('sha256').update(`form ${browser}`).digest('base64url');
}

function readCookies(header: string | undefined): Map<string, string> {
  const cookies = new Map<string, string>();
  for (const pair of (header ?? '').split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0) cookies.set(pair.slice(0, equals).trim(), pair.slice(equals + 1).trim());
  }
  return cookies;
}

/** Session cookies; `maxAge` 0 removes one. */
function setCookie(reply: FastifyReply, name: string, value: string, maxAge?: number): void {
  const end = maxAge === undefined ? '' : `; Max-Age=${maxAge}`;
  const cookie = `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax${end}`;
  const others = [reply.getHeader('set-cookie') ?? []]
    .flat()
    .map(String)
    .filter((each) => !each.startsWith(`${name}=`));
  reply.removeHeader('set-cookie');
  reply.header('set-cookie', [...others, cookie]);
}
