import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { recordAudit } from '../core/audit.ts';
import { createFailureLimit } from '../core/failure-limit.ts';
import type { Realm } from '../core/realm.ts';
import { isUsername, signIn } from '../core/users.ts';
import type { IdentityTables } from '../db/schema.ts';
import { openBrowser, requireOwnForm } from './browser.ts';
import { formOf, originOf } from './oauth-dialect.ts';
import { message, signInForm } from './pages/forms.ts';
import { sendPage } from './pages/page.ts';

/** Pages of ours that a sign-in may lead back to; nothing else, whatever the form says (open redirects). */
const RETURN = /^\/(authorize|device)(\?[\x21-\x7e]*)?$/;

const WINDOW = 5 * 60_000;

/** `POST /login` and `/endsession`. */
export function registerSignIn(app: FastifyInstance, realm: Realm): void {
  const perAccount = createFailureLimit(10, WINDOW);
  const perAddress = createFailureLimit(50, WINDOW);

  app.post('/login', async (request, reply) => {
    const form = formOf(request);
    requireOwnForm(realm, request, form);
    const returnTo = form.get('return') ?? '';
    if (!RETURN.test(returnTo))
      throw new WeftError('invalid', 'invalid_request', 'The sign-in leads nowhere.');
    const username = (form.get('username') ?? '').trim();
    const browser = await openBrowser(realm, request, reply);
    const again = (status: number, reason: string) =>
      sendPage(reply, { title: 'Sign in', status, body: signInForm(browser.csrf, returnTo, reason) });
    if (perAccount.isBlocked(username) || perAddress.isBlocked(request.ip)) {
      return again(429, 'Too many attempts. Wait five minutes.');
    }
    const user = await signIn(
      realm.database.withTables<IdentityTables>(),
      realm.name,
      username,
      form.get('password') ?? '',
    );
    await audit(request, username, user === undefined ? 'refused' : 'granted');
    if (user === undefined) {
      perAccount.failed(username);
      perAddress.failed(request.ip);
      return again(401, 'The user name or the password is wrong.');
    }
    await browser.signIn(user.subject);
    return reply.redirect(returnTo, 303);
  });

  app.get('/endsession', async (request, reply) => {
    const browser = await openBrowser(realm, request, reply);
    await browser.signOut();
    return sendPage(reply, {
      title: 'Signed out',
      body: message('You are signed out here. Applications that you allowed keep what they have.'),
    });
  });

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
