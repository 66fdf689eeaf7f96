import { type Client, isAuthentic, type PresentedClient } from './clients.ts';
import { oauthError } from './oauth-error.ts';
import type { Realm } from './realm.ts';

/**
 * The client that a request comes from. A client with a secret must present it; a public client presents none (an empty
 * password is none: oidc-agent sends one).
 *
 * @throws {WeftError} `invalid_client`, with one text for every cause; `temporarily_unavailable` after too many of them
 */
export async function authenticateClient(
  realm: Realm,
  presented: PresentedClient | undefined,
  address: string,
): Promise<Client> {
  const id = presented?.id ?? '';
  await realm.limits.requireAttempt(id, address);
  const client = await realm.findClient(id);
  realm.limits.requireTurn(id, address);
  if (presented === undefined || client === undefined || !isAuthentic(client, presented)) {
    await realm.limits.failed(id, address);
    throw oauthError('invalid_client', 'Client authentication failed.');
  }
  // Anybody can say the name of a public client.
  if (client.secretHash !== undefined) await realm.limits.proved(id, address);
  return client;
}
