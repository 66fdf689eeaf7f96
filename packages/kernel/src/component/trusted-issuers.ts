import type { IntrospectionClient, TrustedIssuer } from '../auth/index.ts';
import { readConfiguredFile, Secret } from '../config/index.ts';
import type { Settings } from './settings.ts';

/**
 * The issuers of the configuration, as the verifier takes them.
 *
 * @throws {ExitError} 78 when the secret for introspection cannot be read
 */
export function trustedIssuersOf({ issuers }: Pick<Settings, 'issuers'>): TrustedIssuer[] {
  return issuers.map(({ issuer, alternative, algorithms, introspection, ...rest }, index) => ({
    issuer,
    allowWildcardAudience: rest.allow_wildcard_audience,
    audiences: rest.audiences,
    requireAudience: rest.require_audience,
    userinfo: rest.userinfo,
    ...(alternative === undefined ? {} : { alternative }),
    ...(algorithms === undefined ? {} : { algorithms }),
    ...(rest.maximum_lifetime_seconds === undefined
      ? {}
      : { maximumLifetimeSeconds: rest.maximum_lifetime_seconds }),
    ...(introspection === undefined ? {} : { introspection: clientOf(introspection, index) }),
  }));
}

function clientOf(
  { client_id, secret_file, token_prefix }: NonNullable<Settings['issuers'][number]['introspection']>,
  index: number,
): IntrospectionClient {
  const secret = readConfiguredFile(`issuers.${index}.introspection.secret_file`, secret_file);
  return {
    clientId: client_id,
    clientSecret: new Secret(secret.toString('utf8').trim()),
    ...(token_prefix === undefined ? {} : { tokenPrefix: token_prefix }),
  };
}
