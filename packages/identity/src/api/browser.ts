import type { FastifyReply, FastifyRequest } from 'fastify';
import { endSessions } from '../core/end-sessions.ts';
import { newSecret } from '../core/hashes.ts';
import type { Realm } from '../core/realm.ts';
import { beginSession, findSession, type Session, sessionOfCookie } from '../core/sessions.ts';
import type { IdentityTables } from '../db/schema.ts';
import { formTokenOf, readCookies, requireFormToken, setCookie } from './cookies.ts';

/** One browser at one realm: its session, and the token that proves that a form came from our own page. */
export interface Browser {
  readonly session: Session | undefined;
  /** Stands in every form as `csrf`. */
  readonly csrf: string;
  /** Starts a session under a new identifier; an older one ends, so that a planted one gains nothing. */
  signIn(subject: string): Promise<void>;
  signOut(): Promise<void>;
}

/** How the realm is called on its pages. */
export function placeOf(realm: Realm): string {
  return realm.config.title ?? new URL(realm.issuer).host;
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
  const end = async (cookie: string | undefined) => {
    if (cookie === undefined) return;
    await realm.database.transaction<number, IdentityTables>((tx) =>
      endSessions(tx, realm.wakeUps, sessionOfCookie(cookie)),
    );
  };
  return {
    session: await findSession(sql, realm.name, cookies.get(names.session)),
    csrf: formTokenOf(browser),
    async signIn(subject) {
      const before = cookies.get(names.session);
      const seen = { browser: request.headers['user-agent'], address: request.ip };
      setCookie(reply, names.session, await beginSession(sql, realm.name, subject, seen, before));
      setCookie(reply, names.browser, newSecret());
      // Under the old cookie there is nothing now, unless it was somebody else's session.
      await end(before);
    },
    async signOut() {
      await end(cookies.get(names.session));
      setCookie(reply, names.session, '', 0);
    },
  };
}

/**
 * Requires that a form came from a page that this browser got from us.
 * @throws {WeftError} `forbidden`
 */
export function requireOwnForm(realm: Realm, request: FastifyRequest, form: URLSearchParams): void {
  requireFormToken(readCookies(request.headers.cookie).get(cookieNames(realm).browser), form);
}
