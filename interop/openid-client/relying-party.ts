// relying-party.ts ISSUER CA STORAGE PASSWORD_FILE DATALAKE ORCHESTRATOR: certified clients with all their checks on, against the issuer. Prints one JSON line
// a check. Node takes the authority from NODE_EXTRA_CA_CERTS.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as oauth from 'oauth4webapi';
import * as oidc from 'openid-client';
import { createPerson } from '../harness/person.ts';

const [issuer = '', ca = '', storage = '', passwordFile = '', datalake = '', orchestrator = ''] =
  process.argv.slice(2);
const password = readFileSync(passwordFile, 'utf8').trim();
const REDIRECT = 'http://127.0.0.1:4711/callback';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const GOODBYE = 'http://127.0.0.1:4711/goodbye';
const SCOPE = 'openid profile email offline_access storage.read:/';

const checks: [name: string, work: () => Promise<void>][] = [
  [
    'openid-client: registration, authorization code with PKCE, nonce and iss, userinfo, refresh, revocation',
    codeFlow,
  ],
  ['openid-client: device flow', deviceFlow],
  ['openid-client: client credentials, token exchange and what it refuses', services],
  ['openid-client: sign-out led by the application', signOut],
  ['oauth4webapi: discovery, code flow with every validation, introspection', lowLevel],
  ['oauth4webapi: our access token passes its checks of RFC 9068, for its audience only', resourceServer],
];
for (const [name, work] of checks) {
  try {
    await work();
    console.log(JSON.stringify({ name }));
  } catch (error) {
    console.log(
      JSON.stringify({
        name,
        failed: error instanceof Error ? `${error.stack} ${String(error.cause)}` : String(error),
      }),
    );
  }
}

/** alice signs in, allows, and is led back; gives the address that she ends at. */
async function alicesWay(
  authorization: URL,
  alice = createPerson({ ca: readFileSync(ca), origins: [issuer] }),
): Promise<URL> {
  await alice.get(authorization.href);
  const asked = await alice.submit({ username: 'alice', password });
  const answered = asked.leaving ?? (await alice.submit({ decision: 'allow' })).leaving;
  if (answered === undefined) throw new Error('alice was not led back');
  return answered;
}

async function registered(method: string): Promise<oidc.Configuration> {
  return oidc.dynamicClientRegistration(new URL(issuer), {
    client_name: 'openid-client',
    redirect_uris: [REDIRECT],
    post_logout_redirect_uris: [GOODBYE],
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    token_endpoint_auth_method: method,
  });
}

/** The authorization code flow with every check that the library has. */
async function signedIn(config: oidc.Configuration, resource: string) {
  oidc.enableNonRepudiationChecks(config);
  const verifier = oidc.randomPKCECodeVerifier();
  const [state, nonce] = [oidc.randomState(), oidc.randomNonce()];
  const alice = createPerson({ ca: readFileSync(ca), origins: [issuer] });
  const back = await alicesWay(
    oidc.buildAuthorizationUrl(config, {
      redirect_uri: REDIRECT,
      scope: SCOPE,
      resource,
      state,
      nonce,
      max_age: '600',
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }),
    alice,
  );
  const tokens = await oidc.authorizationCodeGrant(config, back, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    maxAge: 600,
    idTokenExpected: true,
  });
  return { tokens, alice };
}

async function codeFlow(): Promise<void> {
  const config = await registered('client_secret_basic');
  const { tokens } = await signedIn(config, storage);
  const subject = tokens.claims()?.sub ?? '';
  const info = await oidc.fetchUserInfo(config, tokens.access_token, subject);
  if (info.preferred_username !== 'alice') throw new Error(`userinfo: ${JSON.stringify(info)}`);
  const fresh = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '', {
    scope: 'storage.read:/data',
  });
  if (fresh.scope !== 'storage.read:/data') throw new Error(`narrowed scope: ${fresh.scope}`);
  await oidc.tokenRevocation(config, tokens.refresh_token ?? '');
  const refused = await oidc
    .refreshTokenGrant(config, tokens.refresh_token ?? '')
    .catch((error: unknown) => error);
  if (!(refused instanceof oidc.ResponseBodyError) || refused.error !== 'invalid_grant')
    throw new Error(`a revoked refresh token: ${String(refused)}`);
}

async function deviceFlow(): Promise<void> {
  const config = await registered('none');
  const device = await oidc.initiateDeviceAuthorization(config, { scope: SCOPE, audience: storage });
  const polling = oidc.pollDeviceAuthorizationGrant(config, device);
  const alice = createPerson({ ca: readFileSync(ca), origins: [issuer] });
  await alice.get(device.verification_uri_complete ?? '');
  await alice.submit({ username: 'alice', password });
  await alice.submit({ decision: 'allow' });
  const tokens = await polling;
  if (tokens.refresh_token === undefined) throw new Error('no refresh token');
}

async function confidential(clientId: string): Promise<oidc.Configuration> {
  const secret = readFileSync(path.join(path.dirname(passwordFile), `${clientId}.secret`), 'utf8').trim();
  return oidc.discovery(new URL(issuer), clientId, undefined, oidc.ClientSecretBasic(secret));
}

async function services(): Promise<void> {
  const wanted = 'storage.modify:/rucio/x';
  const own = await oidc.clientCredentialsGrant(await confidential('datalake'), {
    scope: wanted,
    resource: storage,
  });
  if (own.scope !== wanted) throw new Error(`client credentials: ${own.scope}`);
  const { tokens } = await signedIn(await registered('none'), orchestrator);
  const exchange = (audience: string) => ({
    ...{ subject_token: tokens.access_token, subject_token_type: ACCESS_TOKEN, audience },
    ...{ scope: 'openid offline_access', requested_token_type: ACCESS_TOKEN },
  });
  const service = await confidential('orchestrator');
  const exchanged = await oidc.genericGrantRequest(service, EXCHANGE, exchange(datalake));
  if (exchanged.issued_token_type !== ACCESS_TOKEN || exchanged.refresh_token === undefined)
    throw new Error(`exchange: ${JSON.stringify(Object.keys(exchanged))}`);
  const refused = await oidc
    .genericGrantRequest(service, EXCHANGE, exchange(storage))
    .catch((error: unknown) => error);
  if (!(refused instanceof oidc.ResponseBodyError) || refused.error !== 'invalid_target')
    throw new Error(`an audience outside the policy: ${String(refused)}`);
}

async function signOut(): Promise<void> {
  const config = await registered('none');
  const { tokens, alice } = await signedIn(config, storage);
  const goodbye = oidc.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token ?? '',
    post_logout_redirect_uri: GOODBYE,
    state: 'done',
  });
  const left = await alice.get(goodbye.href);
  if (left.leaving?.href !== `${GOODBYE}?state=done`) throw new Error(`led to ${left.leaving}: ${left.text}`);
}

/** What a service does that verifies tokens by this library. */
async function resourceServer(): Promise<void> {
  const { tokens } = await signedIn(await registered('client_secret_basic'), storage);
  const url = new URL(issuer);
  const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url));
  const request = new Request(`${storage}/file`, {
    headers: { authorization: `Bearer ${tokens.access_token}` },
  });
  const claims = await oauth.validateJwtAccessToken(server, request, storage);
  if (claims.scope !== tokens.scope) throw new Error(`scope: ${JSON.stringify(claims.scope)}`);
  const elsewhere = await oauth
    .validateJwtAccessToken(server, request.clone(), datalake)
    .catch((error: unknown) => error);
  if (!(elsewhere instanceof Error)) throw new Error('another audience takes it');
}

async function lowLevel(): Promise<void> {
  const url = new URL(issuer);
  const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url));
  const metadata = {
    client_name: 'oauth4webapi',
    redirect_uris: [REDIRECT],
    grant_types: ['authorization_code', 'refresh_token'],
  };
  const client = await oauth.processDynamicClientRegistrationResponse(
    await oauth.dynamicClientRegistrationRequest(server, metadata),
  );
  const authentication = oauth.ClientSecretPost(String(client.client_secret));
  const verifier = oauth.generateRandomCodeVerifier();
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
  const authorization = new URL(server.authorization_endpoint ?? '');
  const parameters = {
    client_id: client.client_id,
    redirect_uri: REDIRECT,
    response_type: 'code',
    scope: SCOPE,
    state,
    nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) authorization.searchParams.set(name, value);
  const back = oauth.validateAuthResponse(server, client, await alicesWay(authorization), state);
  const answer = await oauth.authorizationCodeGrantRequest(
    server,
    client,
    authentication,
    back,
    REDIRECT,
    verifier,
  );
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, {
    expectedNonce: nonce,
    requireIdToken: true,
  });
  // The signature of the ID token, which the library leaves out because TLS covers it.
  await oauth.validateApplicationLevelSignature(server, answer);
  const inspected = await oauth.processIntrospectionResponse(
    server,
    client,
    await oauth.introspectionRequest(server, client, authentication, tokens.access_token),
  );
  if (!inspected.active) throw new Error('the access token is not active');
  const twice = await oauth.authorizationCodeGrantRequest(
    server,
    client,
    authentication,
    back,
    REDIRECT,
    verifier,
  );
  const refused = await oauth
    .processAuthorizationCodeResponse(server, client, twice)
    .catch((error: unknown) => error);
  if (!(refused instanceof oauth.ResponseBodyError) || refused.error !== 'invalid_grant')
    throw new Error(`a code used twice: ${String(refused)}`);
}
