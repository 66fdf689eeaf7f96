import {
  allowInsecureRequests,
  ClientSecretBasic,
  type Configuration,
  type CustomFetch,
  clientCredentialsGrant,
  customFetch,
  discovery,
  genericGrantRequest,
  ResponseBodyError,
  refreshTokenGrant,
  type TokenEndpointResponse,
  WWWAuthenticateChallengeError,
} from 'openid-client';
import { Secret } from '../config/index.ts';
import { describeError, WeftError } from '../errors/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { ClientCredentials, ExchangedToken, TokenRequest, TokenSource } from './types.ts';

export interface TokenSourceOptions {
  credentials: ClientCredentials;
  fetch: GuardedFetch;
  log: Logger;
}

/** Own tokens are renewed a minute before they end, shorter ones when four fifths of their life are over. */
const RENEW_BEFORE_MILLISECONDS = 60_000;
const USABLE_SHARE = 0.8;

/** Path scopes make a token per file: the oldest go. */
const KEPT_TOKENS = 1000;

interface OwnToken extends ExchangedToken {
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

type Grant = 'own' | 'exchange' | 'refresh';

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

/**
 * Gets tokens from an issuer with one client's credentials. The issuer is looked up at the first request, not before.
 *
 * @throws {WeftError} every method: `unavailable` (issuer does not answer), `unauthenticated` code `invalid_grant` (the
 *   subject or refresh token is no longer good), `forbidden` code `token-refused` (anything else it refuses).
 */
export function createTokenSource({ credentials, fetch, log }: TokenSourceOptions): TokenSource {
  const own = new Map<string, OwnToken>();
  const asking = new Map<string, Promise<ExchangedToken>>();
  let discovered: Promise<Configuration> | undefined;

  function configuration(): Promise<Configuration> {
    discovered ??= discover(credentials, fetch).catch((error: unknown) => {
      discovered = undefined;
      throw error;
    });
    return discovered;
  }

  async function ask(
    grant: Grant,
    asked: TokenRequest,
    send: (issuer: Configuration) => Promise<TokenEndpointResponse>,
  ): Promise<ExchangedToken> {
    const requestedAt = Date.now();
    try {
      return readAnswer(await send(await configuration()), asked, requestedAt);
    } catch (error) {
      throw refusalOf(error, grant, credentials, asked);
    }
  }

  return {
    async own(request) {
      const name = `${request.audience} ${[...request.scopes].sort().join(' ')}`;
      const known = own.get(name);
      if (known !== undefined && isUsable(known)) return known.accessToken;
      let answer = asking.get(name);
      if (answer === undefined) {
        log.debug({ audience: request.audience, scopes: request.scopes }, 'asking for an own token');
        answer = ask('own', request, (issuer) => clientCredentialsGrant(issuer, parameters(request))).finally(
          () => asking.delete(name),
        );
        asking.set(name, answer);
      }
      const token = await answer;
      own.set(name, { ...token, receivedAt: Date.now() });
      if (own.size > KEPT_TOKENS) forgetOldest(own);
      return token.accessToken;
    },
    exchange: (subjectToken, request) =>
      ask('exchange', request, (issuer) =>
        genericGrantRequest(issuer, TOKEN_EXCHANGE, {
          ...parameters(request),
          subject_token: subjectToken,
          subject_token_type: ACCESS_TOKEN,
          requested_token_type: ACCESS_TOKEN,
        }),
      ),
    refresh: (refreshToken, request) =>
      ask('refresh', request, (issuer) =>
        refreshTokenGrant(issuer, refreshToken.reveal(), parameters(request)),
      ),
  };
}

async function discover(
  { issuer, clientId, clientSecret }: ClientCredentials,
  fetch: GuardedFetch,
): Promise<Configuration> {
  const url = new URL(issuer);
  return discovery(url, clientId, undefined, ClientSecretBasic(clientSecret.reveal()), {
    [customFetch]: adapt(fetch),
    // A plain-text issuer is refused before this by the configuration, except on loopback in development.
    ...(url.protocol === 'http:' ? { execute: [allowInsecureRequests] } : {}),
  });
}

/** The library's fetch in terms of ours. */
function adapt(fetch: GuardedFetch): CustomFetch {
  return (url, { method, headers, redirect, body, signal }) =>
    fetch(url, {
      method,
      headers,
      redirect,
      body: body instanceof URLSearchParams ? body.toString() : typeof body === 'string' ? body : null,
      ...(signal === undefined ? {} : { signal }),
    });
}

function parameters({ audience, scopes }: TokenRequest): Record<string, string> {
  return { audience, scope: scopes.join(' ') };
}

function readAnswer(answer: TokenEndpointResponse, asked: TokenRequest, requestedAt: number): ExchangedToken {
  const lifetimeSeconds = answer.expires_in ?? 300;
  const scopes =
    answer.scope === undefined ? asked.scopes : answer.scope.split(' ').filter((scope) => scope !== '');
  return {
    accessToken: answer.access_token,
    expiresAt: new Date(requestedAt + lifetimeSeconds * 1000),
    scopes,
    ...(answer.refresh_token === undefined ? {} : { refreshToken: new Secret(answer.refresh_token) }),
  };
}

function forgetOldest(tokens: Map<string, OwnToken>): void {
  const oldest = tokens.keys().next();
  if (!oldest.done) tokens.delete(oldest.value);
}

function isUsable({ expiresAt, receivedAt }: OwnToken): boolean {
  const lifetime = expiresAt.getTime() - receivedAt;
  const renewBefore = Math.min(RENEW_BEFORE_MILLISECONDS, lifetime * (1 - USABLE_SHARE));
  return expiresAt.getTime() - Date.now() > renewBefore;
}

/** What the issuer says when a subject or refresh token is no longer good (RFC 6749 5.2; RFC 8693 2.2.2). */
const DEAD_TOKEN: Readonly<Record<Grant, readonly string[]>> = {
  own: [],
  exchange: ['invalid_grant', 'invalid_request'],
  refresh: ['invalid_grant'],
};

function refusalOf(
  error: unknown,
  grant: Grant,
  { issuer, clientId }: ClientCredentials,
  { audience }: TokenRequest,
): WeftError {
  if (error instanceof WWWAuthenticateChallengeError) {
    const message = `${issuer} does not accept the credentials of ${clientId}.`;
    return new WeftError('forbidden', 'token-refused', message, { cause: error });
  }
  if (error instanceof ResponseBodyError && error.status < 500) {
    const said = [error.error, error.error_description].filter(Boolean).join(': ');
    const message = `${issuer} gave ${clientId} no token for ${audience}: ${said}.`;
    return DEAD_TOKEN[grant].includes(error.error)
      ? new WeftError('unauthenticated', 'invalid_grant', message, { cause: error })
      : new WeftError('forbidden', 'token-refused', message, { cause: error });
  }
  return new WeftError(
    'unavailable',
    'issuer-unavailable',
    `${issuer} gave no token: ${describeError(error)}.`,
    { cause: error },
  );
}
