import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { recordAudit } from '../core/audit.ts';
import { findClient } from '../core/clients.ts';
import type { Realm } from '../core/realm.ts';
import { isRegisteredRedirect } from '../core/redirect-uris.ts';
import { isUsername, signIn } from '../core/users.ts';
import type { IdentityTables } from '../db/schema.ts';
import { openBrowser, placeOf, requireOwnForm } from './browser.ts';
import { formOf, originOf } from './oauth-dialect.ts';
import { signInForm } from './pages/forms.ts';
import { sendPage } from './pages/page.ts';

/** Pages of ours that a sign-in may lead back to; nothing else, whatever the form says (open redirects). */
const RETURN = /^\/(authorize|device|account)(\?[\x21-\x7e]*)?$/;

/** `POST /login`, where the form of the sign-in page goes. */
export function registerSignIn(app: FastifyInstance, realm: Realm): void {
  app.post('/login', async (request, reply) => {
    const form = formOf(request);
    requireOwnForm(realm, request, form);
    const returnTo = form.get('return') ?? '';
    if (!RETURN.test(returnTo))
      throw new WeftError('invalid', 'invalid_request', 'The sign-in leads nowhere.');
    const username = (form.get('username') ?? '').trim();
    const browser = await openBrowser(realm, request, reply);
    const again = async (status: number, wrong: string) =>
      sendPage(reply, {
        title: 'Sign in',
        place: placeOf(realm),
        status,
        body: signInForm({ csrf: browser.csrf, returnTo, wrong, username }),
        formTarget: await leadsTo(returnTo),
      });
    const wait = await realm.signInLimits.begin(username, request.ip);
    if (wait > 0) {
      reply.header('retry-after', String(wait));
      return again(429, 'Too many attempts. Wait five minutes.');
    }
    const user = await signIn(
      realm.database.withTables<IdentityTables>(),
      realm.name,
      username,
      form.get('password') ?? '',
    );
    await audit(request, username, user === undefined ? 'refused' : 'granted');
    if (user === undefined) return again(401, 'The user name or the password is wrong.');
    await realm.signInLimits.succeeded(username, request.ip);
    await browser.signIn(user.subject);
    return reply.redirect(returnTo, 303);
  });

  /** Where the browser may end up once somebody has signed in; browsers check that of the form. */
  async function leadsTo(returnTo: string): Promise<string | undefined> {
    const { searchParams } = new URL(returnTo, realm.issuer);
    const target = searchParams.get('redirect_uri') ?? undefined;
    const sql = realm.database.withTables<IdentityTables>();
    const client = await findClient(sql, realm.name, searchParams.get('client_id') ?? '');
    if (client === undefined) return undefined;
    if (target === undefined) return client.redirectUris[0];
    return isRegisteredRedirect(client, target) ? target : undefined;
  }

  async function audit(
    request: FastifyRequest,
    username: string,
    decision: 'granted' | 'refused',
  ): Promise<void> {
    const sql = realm.database.withTables<IdentityTables>();
    // People type their password into the wrong field; a name that nobody has is kept nowhere.
    const known = await isUsername(sql, realm.name, username);
    await recordAudit(sql, {
      realm: realm.name,
      actor: known ? username : 'unknown',
      action: 'sign-in',
      object: known ? username : 'unknown',
      decision,
      ...(known ? {} : { reason: 'unknown-name' }),
      origin: originOf(request),
    });
  }
}
