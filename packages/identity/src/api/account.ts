import type { Tx } from '@weft/kernel/database';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { recordAudit } from '../core/audit.ts';
import { endSessions } from '../core/end-sessions.ts';
import {
  disconnectApplication,
  exportPerson,
  findOwnApplications,
  findOwnSessions,
  ownSessions,
} from '../core/own-account.ts';
import type { Realm } from '../core/realm.ts';
import type { Session } from '../core/sessions.ts';
import type { IdentityTables } from '../db/schema.ts';
import { openBrowser, placeOf, requireOwnForm } from './browser.ts';
import { formOf, originOf } from './oauth-dialect.ts';
import { accountPage } from './pages/account-page.ts';
import { signInForm } from './pages/forms.ts';
import { sendPage } from './pages/page.ts';

/**
 * `/account`: where somebody is signed in and what acts for her, each with an end to it; and everything that is kept about
 * her, to take along (brief alise-aai 4 "log out everywhere", 7.2 T17 and T47).
 */
export function registerAccount(app: FastifyInstance, realm: Realm): void {
  const place = placeOf(realm);
  const sql = realm.database.withTables<IdentityTables>();

  app.get('/account', async (request, reply) => {
    const { session, csrf } = await openBrowser(realm, request, reply);
    if (session === undefined) return askToSignIn(reply, csrf, '/account');
    const { user } = session;
    const done = new URLSearchParams(request.rawTarget.split('?')[1]).get('done');
    const body = accountPage(csrf, {
      username: user.username,
      subject: user.subject,
      sessionId: session.id,
      sessions: await findOwnSessions(sql, realm.name, user.subject),
      applications: await findOwnApplications(sql, realm.name, user.subject),
      notice: NOTICES.get(done ?? ''),
    });
    return sendPage(reply, { title: 'Your account', place, body });
  });

  app.get('/account/data', async (request, reply) => {
    const { session, csrf } = await openBrowser(realm, request, reply);
    if (session === undefined) return askToSignIn(reply, csrf, '/account');
    const data = await exportPerson(sql, realm.name, session.user);
    return reply
      .headers({
        'cache-control': 'private, no-store',
        'content-disposition': 'attachment; filename="account.json"',
      })
      .send({ issuer: realm.issuer, exported_at: new Date(), ...data });
  });

  app.post('/account/sign-out', async (request, reply) => {
    const { form, session, browser } = await submitted(request, reply);
    if (session === undefined) return askToSignIn(reply, browser.csrf, '/account');
    const chosen = form.get('session') ?? '';
    await change(request, session, 'session.end', async (tx) => {
      const all = chosen === 'all' ? undefined : chosen;
      const ended = await endSessions(tx, realm.wakeUps, ownSessions(realm.name, session.user.subject, all));
      return ended === 0 ? undefined : chosen;
    });
    return reply.redirect('/account?done=signed-out', 303);
  });

  app.post('/account/disconnect', async (request, reply) => {
    const { form, session, browser } = await submitted(request, reply);
    if (session === undefined) return askToSignIn(reply, browser.csrf, '/account');
    await change(request, session, 'application.disconnect', (tx) =>
      disconnectApplication(tx, realm.name, session.user.subject, form.get('application') ?? ''),
    );
    return reply.redirect('/account?done=disconnected', 303);
  });

  /** A form of ours, from somebody who may be signed in. */
  async function submitted(request: FastifyRequest, reply: FastifyReply) {
    const form = formOf(request);
    requireOwnForm(realm, request, form);
    const browser = await openBrowser(realm, request, reply);
    return { form, browser, session: browser.session };
  }

  function askToSignIn(reply: FastifyReply, csrf: string, returnTo: string) {
    const body = signInForm({ csrf, returnTo, application: 'your account' });
    return sendPage(reply, { title: 'Sign in', place, body });
  }

  /** Does something to what is her own, with its audit row; `undefined`: there was nothing to do. */
  async function change(
    request: FastifyRequest,
    { user }: Session,
    action: string,
    work: (tx: Tx<IdentityTables>) => Promise<string | undefined>,
  ): Promise<void> {
    await realm.database.transaction<void, IdentityTables>(async (tx) => {
      const object = await work(tx);
      if (object === undefined) return;
      await recordAudit(tx, {
        ...{ realm: realm.name, actor: user.username, action, object },
        decision: 'granted',
        origin: originOf(request),
      });
    });
  }
}

const NOTICES = new Map([
  ['signed-out', 'Signed out there.'],
  ['disconnected', 'Disconnected. What it holds already is good for an hour at most.'],
]);
