import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { recordAudit } from '../core/audit.ts';
import { requireGrant } from '../core/clients.ts';
import {
  answerDevice,
  DEVICE_CODE_SECONDS,
  findPendingDevice,
  issueDeviceCode,
  type PendingDevice,
} from '../core/device-codes.ts';
import { readCodeChallenge } from '../core/pkce.ts';
import type { Realm } from '../core/realm.ts';
import type { Session } from '../core/sessions.ts';
import { readTokenRequest } from '../core/token-grant.ts';
import type { IdentityTables } from '../db/schema.ts';
import { openBrowser, placeOf, requireOwnForm } from './browser.ts';
import { formOf, originOf } from './oauth-dialect.ts';
import { deviceForm, message, signInForm, userCodeForm } from './pages/forms.ts';
import { sendPage } from './pages/page.ts';
import { requireClient } from './require-client.ts';

/** The device flow: `/devicecode` for the device, `/device` for its user (RFC 8628). */
export function registerDevice(app: FastifyInstance, realm: Realm): void {
  const place = placeOf(realm);

  app.post('/devicecode', async (request, reply) => {
    const form = formOf(request);
    const client = await requireClient(realm, request, form);
    requireGrant(client, 'urn:ietf:params:oauth:grant-type:device_code');
    const { scopes, audiences } = readTokenRequest(client, form, originOf(request));
    await realm.limits.countDeviceCode(request.ip);
    const issued = await issueDeviceCode(realm, {
      client,
      scopes,
      audiences,
      codeChallenge: readCodeChallenge(form),
    });
    return reply.header('cache-control', 'no-store').send({
      device_code: issued.deviceCode,
      user_code: issued.userCode,
      verification_uri: `${realm.issuer}/device`,
      verification_uri_complete: `${realm.issuer}/device?user_code=${issued.userCode}`,
      expires_in: DEVICE_CODE_SECONDS,
      interval: issued.intervalSeconds,
    });
  });

  app.get(
    '/device',
    async (request: FastifyRequest<{ Querystring: { user_code?: string | string[] } }>, reply) => {
      const browser = await openBrowser(realm, request, reply);
      const userCode = [request.query.user_code ?? []].flat()[0];
      if (browser.session === undefined) {
        const returnTo =
          userCode === undefined ? '/device' : `/device?user_code=${encodeURIComponent(userCode)}`;
        return sendPage(reply, {
          ...{ title: 'Sign in', place },
          body: signInForm({ csrf: browser.csrf, returnTo, application: 'connect a device' }),
        });
      }
      if (userCode === undefined)
        return sendPage(reply, { title: 'Connect a device', place, body: userCodeForm() });
      const device = await pendingDevice(request, browser.session, userCode);
      if (device === undefined) return unknownCode(reply, place);
      const body = deviceForm(browser.csrf, device, browser.session.user.username);
      return sendPage(reply, { title: 'Allow access?', place, body });
    },
  );

  app.post('/device', async (request, reply) => {
    const form = formOf(request);
    requireOwnForm(realm, request, form);
    const { session } = await openBrowser(realm, request, reply);
    const userCode = form.get('user_code') ?? '';
    const device = session && (await pendingDevice(request, session, userCode));
    if (session === undefined || device === undefined) return unknownCode(reply, place);
    const allowed = form.get('decision') === 'allow';
    if (!(await answerDevice(realm, session, userCode, allowed ? 'approved' : 'denied')))
      return unknownCode(reply, place);
    await recordAudit(realm.database.withTables<IdentityTables>(), {
      realm: realm.name,
      actor: session.user.username,
      action: 'device',
      object: device.client.id,
      decision: allowed ? 'granted' : 'refused',
      reason: device.scopes.join(' '),
      origin: originOf(request),
    });
    const text = allowed
      ? 'Done. The device goes on by itself; you can close this page.'
      : 'The device gets nothing.';
    return sendPage(reply, { title: allowed ? 'Allowed' : 'Denied', place, body: message(text) });
  });

  /** Guessing ends with the session, and with the network. */
  async function pendingDevice(
    { ip }: FastifyRequest,
    session: Session,
    userCode: string,
  ): Promise<PendingDevice | undefined> {
    await realm.limits.requireUserCodeAttempt(ip);
    const device = await findPendingDevice(realm, session, userCode);
    if (device === undefined) await realm.limits.userCodeFailed(ip);
    return device;
  }
}

function unknownCode(reply: FastifyReply, place: string): FastifyReply {
  return sendPage(reply, {
    ...{ title: 'Connect a device', place },
    status: 400,
    body: userCodeForm('There is no such code, it has expired, or it was answered already.'),
  });
}
