import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Realm } from '../core/realm.ts';
import { readSignOutRequest } from '../core/sign-out-request.ts';
import { openBrowser, placeOf, requireOwnForm } from './browser.ts';
import { formOf } from './oauth-dialect.ts';
import { message, signOutForm } from './pages/forms.ts';
import { sendPage } from './pages/page.ts';

/** What the question carries on to the answer. */
const CARRIED = ['id_token_hint', 'client_id', 'post_logout_redirect_uri', 'state'];

/**
 * `/endsession` (OpenID Connect RP-Initiated Logout 1.0). An application that shows the ID token of the person is
 * believed; anybody else makes us ask, so that no page can sign people out.
 */
export function registerEndSession(app: FastifyInstance, realm: Realm): void {
  app.get('/endsession', (request, reply) => {
    const query = request.rawTarget.indexOf('?');
    return endSession(
      request,
      reply,
      new URLSearchParams(query < 0 ? '' : request.rawTarget.slice(query + 1)),
    );
  });

  app.post('/endsession', (request, reply) => {
    const form = formOf(request);
    return endSession(request, reply, form);
  });

  async function endSession(request: FastifyRequest, reply: FastifyReply, parameters: URLSearchParams) {
    const browser = await openBrowser(realm, request, reply);
    const { subject, redirectUri } = await readSignOutRequest(realm, parameters);
    const known = browser.session?.user;
    if (parameters.get('decision') === 'sign-out') requireOwnForm(realm, request, parameters);
    else if (known !== undefined && known.subject !== subject) {
      const fields = CARRIED.flatMap((name) => {
        const value = parameters.get(name);
        return value === null ? [] : [[name, value] as const];
      });
      const body = signOutForm(browser.csrf, known.username, Object.fromEntries(fields));
      return sendPage(reply, { title: 'Sign out?', place: placeOf(realm), body, formTarget: redirectUri });
    }
    await browser.signOut();
    if (redirectUri !== undefined) {
      const target = new URL(redirectUri);
      const state = parameters.get('state');
      if (state !== null) target.searchParams.set('state', state);
      return reply.header('cache-control', 'no-store').redirect(target.href, 303);
    }
    return sendPage(reply, {
      title: 'Signed out',
      place: placeOf(realm),
      body: message('You are signed out here. Applications that you allowed keep what they have.'),
    });
  }
}
