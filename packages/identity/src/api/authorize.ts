import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { issueCode } from '../core/authorization-codes.ts';
import {
  type AuthorizationRequest,
  mustAsk,
  mustSignIn,
  readAuthorizationRequest,
} from '../core/authorization-request.ts';
import { findClient } from '../core/clients.ts';
import { oauthError } from '../core/oauth-error.ts';
import type { Realm } from '../core/realm.ts';
import { isRegisteredRedirect } from '../core/redirect-uris.ts';
import type { Session } from '../core/sessions.ts';
import { singleParameter } from '../core/token-grant.ts';
import { scopesForUser } from '../core/user-grant.ts';
import type { IdentityTables } from '../db/schema.ts';
import { openBrowser, placeOf, requireOwnForm } from './browser.ts';
import { formOf, originOf } from './oauth-dialect.ts';
import { approvalForm, message, signInForm } from './pages/forms.ts';
import { sendPage } from './pages/page.ts';

/** `/authorize`: sign in if need be, ask if need be, redirect with a code (RFC 6749 4.1, RFC 9207). */
export function registerAuthorize(app: FastifyInstance, realm: Realm): void {
  const place = placeOf(realm);

  const authorize = async (request: FastifyRequest, reply: FastifyReply) => {
    const parameters = parametersOf(request);
    const asked = await readRequest(realm, parameters, reply);
    if (asked === undefined) return reply;
    try {
      const browser = await openBrowser(realm, request, reply);
      if (mustSignIn(asked, browser.session) || browser.session === undefined) {
        if (asked.prompt.has('none')) throw oauthError('login_required', 'Nobody is signed in.');
        const body = signInForm({
          csrf: browser.csrf,
          returnTo: `/authorize?${withoutPrompt(parameters, 'login')}`,
          application: asked.client.name,
          username: asked.loginHint,
        });
        return sendPage(reply, { title: 'Sign in', place, body, formTarget: asked.redirectUri });
      }
      const { session } = browser;
      const scopes = scopesForUser(asked.client, session.user, asked.scopes, asked.audiences);
      if (mustAsk(asked)) {
        if (asked.prompt.has('none')) throw oauthError('consent_required', 'The user has to be asked.');
        const body = approvalForm(
          '/approve',
          { csrf: browser.csrf, request: parameters.toString() },
          {
            clientName: asked.client.name,
            clientId: asked.client.id,
            scopes,
            audiences: asked.audiences,
            username: session.user.username,
            selfRegistered: asked.client.selfRegistered,
          },
        );
        return sendPage(reply, { title: 'Allow access?', place, body, formTarget: asked.redirectUri });
      }
      return await redirectWithCode(request, reply, asked, session, scopes);
    } catch (error) {
      return redirectWithError(realm, reply, asked, error);
    }
  };
  app.get('/authorize', authorize);
  app.post('/authorize', authorize);

  app.post('/approve', async (request, reply) => {
    const form = formOf(request);
    requireOwnForm(realm, request, form);
    const asked = await readRequest(realm, new URLSearchParams(form.get('request') ?? ''), reply);
    if (asked === undefined) return reply;
    try {
      const { session } = await openBrowser(realm, request, reply);
      if (session === undefined) throw oauthError('login_required', 'The session has ended.');
      if (form.get('decision') !== 'allow') {
        await audit(request, asked, session, 'refused', 'access_denied: The user has denied it.');
        throw oauthError('access_denied', 'The user has denied it.');
      }
      const scopes = scopesForUser(asked.client, session.user, asked.scopes, asked.audiences);
      return await redirectWithCode(request, reply, asked, session, scopes);
    } catch (error) {
      return redirectWithError(realm, reply, asked, error);
    }
  });

  async function redirectWithCode(
    request: FastifyRequest,
    reply: FastifyReply,
    asked: AuthorizationRequest,
    session: Session,
    scopes: readonly string[],
  ): Promise<FastifyReply> {
    const { user, authTime, id } = session;
    const code = await issueCode(realm, { ...asked, scopes, user, authTime, session: id });
    await audit(request, asked, session, 'granted', scopes.join(' '));
    return redirectBack(realm, reply, asked, { code });
  }

  function audit(
    request: FastifyRequest,
    { client }: AuthorizationRequest,
    { user }: Session,
    decision: 'granted' | 'refused',
    reason: string,
  ): Promise<void> {
    return realm.audit.record({
      realm: realm.name,
      actor: user.username,
      action: 'authorize',
      object: client.id,
      decision,
      reason,
      origin: originOf(request),
    });
  }
}

function parametersOf(request: FastifyRequest): URLSearchParams {
  if (request.method === 'POST') return formOf(request);
  const query = request.rawTarget.indexOf('?');
  return new URLSearchParams(query < 0 ? '' : request.rawTarget.slice(query + 1));
}

/** A client or a redirect that is not known is told to the person; anything else to the client, by redirect. */
async function readRequest(
  realm: Realm,
  parameters: URLSearchParams,
  reply: FastifyReply,
): Promise<AuthorizationRequest | undefined> {
  const refuse = (reason: string) => {
    sendPage(reply, {
      title: 'This link is not right',
      place: placeOf(realm),
      status: 400,
      body: message(reason),
    });
    return undefined;
  };
  const [clientId, redirectUri] = [parameters.getAll('client_id'), parameters.getAll('redirect_uri')];
  const client =
    clientId.length === 1 && clientId[0] !== undefined
      ? await findClient(realm.database.withTables<IdentityTables>(), realm.name, clientId[0])
      : undefined;
  if (client === undefined) return refuse('It comes from an application that is not known here.');
  const target =
    redirectUri.length === 0 && client.redirectUris.length === 1 ? client.redirectUris[0] : redirectUri[0];
  if (target === undefined || redirectUri.length > 1 || !isRegisteredRedirect(client, target)) {
    return refuse('It would lead to an address that the application has not registered.');
  }
  try {
    return readAuthorizationRequest(client, target, parameters);
  } catch (error) {
    redirectWithError(realm, reply, { redirectUri: target, state: stateOf(parameters) }, error);
    return undefined;
  }
}

function stateOf(parameters: URLSearchParams): string | undefined {
  return parameters.getAll('state').length === 1 ? singleParameter(parameters, 'state') : undefined;
}

function redirectWithError(
  realm: Realm,
  reply: FastifyReply,
  asked: Pick<AuthorizationRequest, 'redirectUri' | 'state'>,
  error: unknown,
): FastifyReply {
  if (!(error instanceof WeftError) || error.status >= 500) throw error;
  return redirectBack(realm, reply, asked, { error: error.code, error_description: error.message });
}

function redirectBack(
  realm: Realm,
  reply: FastifyReply,
  { redirectUri, state }: Pick<AuthorizationRequest, 'redirectUri' | 'state'>,
  answer: Readonly<Record<string, string>>,
): FastifyReply {
  const target = new URL(redirectUri);
  for (const [name, value] of Object.entries({ ...answer, iss: realm.issuer }))
    target.searchParams.set(name, value);
  if (state !== undefined) target.searchParams.set('state', state);
  return reply.header('cache-control', 'no-store').redirect(target.href, 303);
}

/** After signing in the request goes on without the wish to sign in. */
function withoutPrompt(parameters: URLSearchParams, word: string): string {
  const rest = new URLSearchParams(parameters);
  const words = (rest.get('prompt') ?? '').split(' ').filter((each) => each !== '' && each !== word);
  rest.delete('prompt');
  if (words.length > 0) rest.set('prompt', words.join(' '));
  return rest.toString();
}
