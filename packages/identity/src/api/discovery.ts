import type { FastifyInstance } from 'fastify';
import { GRANT_TYPES } from '../config.ts';
import { USER_SCOPES } from '../core/granted-scopes.ts';
import type { Realm } from '../core/realm.ts';
import { SIGNING_ALGORITHM } from '../core/signing-keys.ts';

/** What an ordinary client may ask for; `oidc-agent --scope=max` asks for all of it. */
const SCOPES_SUPPORTED = [
  ...USER_SCOPES,
  'storage.read:/',
  'storage.create:/',
  'storage.modify:/',
  'storage.stage:/',
  'compute.read',
  'compute.create',
  'compute.modify',
  'compute.cancel',
  'fts',
  'fts:submit-transfer',
];

/** Seconds for which keys may be kept, as INDIGO IAM has it. */
const KEYS_MAX_AGE = 21_600;

/** The discovery documents (OpenID Connect Discovery, RFC 8414) and the keys, under IAM's path names. */
export function registerDiscovery(app: FastifyInstance, realm: Realm): void {
  const document = describeIssuer(realm);
  for (const path of ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server']) {
    app.get(path, async (_request, reply) =>
      reply.header('cache-control', 'public, max-age=300').send(document),
    );
  }
  app.get('/jwk', async (_request, reply) =>
    reply.header('cache-control', `public, max-age=${KEYS_MAX_AGE}`).send(await realm.keys.published()),
  );
}

function describeIssuer({ issuer, config }: Realm) {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    userinfo_endpoint: `${issuer}/userinfo`,
    jwks_uri: `${issuer}/jwk`,
    ...(config.registration.mode === 'off'
      ? {}
      : { registration_endpoint: `${issuer}/iam/api/client-registration` }),
    introspection_endpoint: `${issuer}/introspect`,
    revocation_endpoint: `${issuer}/revoke`,
    device_authorization_endpoint: `${issuer}/devicecode`,
    backchannel_logout_supported: true,
    backchannel_logout_session_supported: true,
    end_session_endpoint: `${issuer}/endsession`,
    scopes_supported: SCOPES_SUPPORTED,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: GRANT_TYPES.filter(
      (grant) => config.development_profile || !DEVELOPMENT_GRANTS.includes(grant),
    ),
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [SIGNING_ALGORITHM],
    token_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
    introspection_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION.slice(0, 2),
    revocation_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
    code_challenge_methods_supported: ['S256'],
    claims_supported: [
      'sub',
      'iss',
      'name',
      'preferred_username',
      'email',
      'email_verified',
      'groups',
      'wlcg.groups',
      'organisation_name',
      'eduperson_entitlement',
      'entitlements',
      'eduperson_assurance',
      'eduperson_scoped_affiliation',
      'voperson_id',
    ],
    authorization_response_iss_parameter_supported: true,
  };
}

const CLIENT_AUTHENTICATION = ['client_secret_basic', 'client_secret_post', 'none'];
const DEVELOPMENT_GRANTS: readonly string[] = ['password', 'urn:ietf:params:oauth:grant-type:jwt-bearer'];
