import { bearerChallenge } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { type ErrorPrinter, toHttpFailure } from '@weft/kernel/http';
import type { FastifyRequest } from 'fastify';
import type { RequestOrigin } from '../core/audit.ts';
import type { PresentedClient } from '../core/clients.ts';
import { oauthError } from '../core/oauth-error.ts';
import { singleParameter } from '../core/token-grant.ts';

/** The form of a request. JSON is refused: RFC 6749 knows forms only. */
export function formOf(request: FastifyRequest): URLSearchParams {
  if (request.body instanceof URLSearchParams) return request.body;
  throw oauthError('invalid_request', 'The body must be application/x-www-form-urlencoded.');
}

export function originOf(request: FastifyRequest): RequestOrigin {
  return { requestId: request.id, address: request.ip };
}

/**
 * What a request says about its client, by Basic or in the form; both only when they name the same one (brief alise-aai
 * 2.5). Basic with an empty password names a public client.
 *
 * @throws {WeftError} `invalid_request`, `invalid_client`
 */
export function presentedClient(request: FastifyRequest, form: URLSearchParams): PresentedClient | undefined {
  const basic = readBasic(request.headers.authorization);
  const id = singleParameter(form, 'client_id');
  const secret = singleParameter(form, 'client_secret');
  if (basic === undefined) return id === undefined ? undefined : { id, secret: secret ?? '' };
  if (id !== undefined && id !== basic.id)
    throw oauthError('invalid_request', 'The request names two clients.');
  if (secret !== undefined && basic.secret !== '') {
    throw oauthError('invalid_request', 'The client authenticates in two ways.');
  }
  return { id: basic.id, secret: basic.secret === '' ? (secret ?? '') : basic.secret };
}

function readBasic(header: string | undefined): PresentedClient | undefined {
  const match = /^Basic\s+([A-Za-z0-9+/=_-]+)\s*$/i.exec(header ?? '');
  if (match?.[1] === undefined) return undefined;
  const text = Buffer.from(match[1], 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) throw oauthError('invalid_client', 'Client authentication failed.');
  return { id: formDecode(text.slice(0, colon)), secret: formDecode(text.slice(colon + 1)) };
}

/** RFC 6749 2.3.1 encodes both halves as in a form; half of the clients do not, and their text is taken as it is. */
function formDecode(text: string): string {
  if (!/%[0-9a-f]{2}/i.test(text)) return text;
  try {
    return decodeURIComponent(text.replace(/\+/g, ' '));
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

/** Errors as RFC 6749 5.2 and RFC 6750 3 want them. */
export const printOAuthError: ErrorPrinter = (error, request, reply) => {
  const failure = toHttpFailure(error);
  const status =
    failure.status >= 500 ? failure.status : failure.code === 'invalid_client' ? 401 : failure.status;
  const challenge =
    failure.code === 'invalid_client'
      ? /^basic\b/i.test(request.headers.authorization ?? '')
        ? 'Basic realm="weft"'
        : undefined
      : bearerChallenge('weft', error);
  if (challenge !== undefined) reply.header('www-authenticate', challenge);
  const code =
    failure.status >= 500 ? 'server_error' : error instanceof WeftError ? failure.code : 'invalid_request';
  return void reply
    .code(status)
    .headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
    .send({ error: code, error_description: failure.message });
};
