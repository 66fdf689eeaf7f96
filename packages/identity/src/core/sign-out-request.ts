import { compactVerify, createLocalJWKSet, errors } from 'jose';
import { z } from 'zod';
import type { IdentityTables } from '../db/schema.ts';
import type { Realm } from './realm.ts';

/** What an application that sends a person to sign out has proved (OpenID Connect RP-Initiated Logout 1.0). */
export interface SignOutRequest {
  /** Of the ID token that it showed; a person whose session is this one need not be asked. */
  readonly subject: string | undefined;
  /** Registered for the application, or `undefined`. */
  readonly redirectUri: string | undefined;
}

const idTokenSchema = z.looseObject({ iss: z.string(), sub: z.string(), aud: z.string() });

/**
 * Reads `id_token_hint`, `client_id` and `post_logout_redirect_uri` (brief alise-aai 3.15). The hint must be signed by us; it
 * may be expired. A redirect that the application has not registered, exactly so, is left out.
 */
export async function readSignOutRequest(realm: Realm, parameters: URLSearchParams): Promise<SignOutRequest> {
  const hint = await readHint(realm, parameters.get('id_token_hint') ?? '');
  const named = parameters.get('client_id');
  const client = hint === undefined ? named : named === null || named === hint.aud ? hint.aud : null;
  const wanted = parameters.get('post_logout_redirect_uri');
  const registered = client === null || wanted === null ? [] : await registeredFor(realm, client);
  return {
    subject: client === null ? undefined : hint?.sub,
    redirectUri: wanted !== null && registered.includes(wanted) ? wanted : undefined,
  };
}

async function readHint(realm: Realm, hint: string) {
  if (hint === '') return undefined;
  try {
    const keys = createLocalJWKSet(await realm.keys.published());
    const { payload, protectedHeader } = await compactVerify(hint, keys);
    // Services that a person uses have her access tokens; that must not let them sign her out.
    if (protectedHeader.typ !== undefined && protectedHeader.typ !== 'JWT') return undefined;
    const claims = idTokenSchema.safeParse(JSON.parse(new TextDecoder().decode(payload))).data;
    return claims?.iss === realm.issuer ? claims : undefined;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function registeredFor(realm: Realm, clientId: string): Promise<readonly string[]> {
  const row = await realm.database
    .withTables<IdentityTables>()
    .selectFrom('identity.clients')
    .select('post_logout_redirect_uris')
    .where('realm', '=', realm.name)
    .where('id', '=', clientId)
    .executeTakeFirst();
  return row?.post_logout_redirect_uris ?? [];
}
