import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import { authenticateClient } from '../core/authenticate-client.ts';
import type { Client } from '../core/clients.ts';
import type { Realm } from '../core/realm.ts';
import { originOf, presentedClient } from './oauth-dialect.ts';

/**
 * The client that asks at an endpoint other than `/token`, which writes its own audit rows; who is not one stands in the
 * audit log.
 *
 * @throws {WeftError} `invalid_client`, `invalid_request`, `temporarily_unavailable`
 */
export async function requireClient(
  realm: Realm,
  request: FastifyRequest,
  form: URLSearchParams,
): Promise<Client> {
  const presented = presentedClient(request, form);
  try {
    return await authenticateClient(realm, presented, request.ip);
  } catch (error) {
    if (error instanceof WeftError && error.code === 'invalid_client')
      await realm.audit.record({
        realm: realm.name,
        actor: presented?.id ?? '-',
        action: 'client.authenticate',
        object: new URL(request.rawTarget, realm.issuer).pathname,
        decision: 'refused',
        reason: `${error.code}: ${error.message}`,
        origin: originOf(request),
      });
    throw error;
  }
}
