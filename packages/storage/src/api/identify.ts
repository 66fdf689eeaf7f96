import { readBearer, requireClientCertificate } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import type { Caller } from '../core/caller.ts';
import type { Door } from '../core/door.ts';
import { looksLikeMacaroon } from '../core/macaroons/macaroon-format.ts';

/**
 * Who sends a request: by a bearer token or macaroon, or by Basic for clients that know nothing else: an app password, or
 * either of the former as the password; at last by a client certificate, where the listener asks for one.
 */
export async function identify(door: Door, request: FastifyRequest): Promise<Caller> {
  const { access } = door;
  if (!access) return authenticateCaller(door, request);
  try {
    return access.enter(await authenticateCaller(door, request));
  } catch (error) {
    const { anonymous } = access;
    const hasNone = error instanceof WeftError && error.code === 'missing_token';
    if (anonymous && hasNone && request.headers.authorization === undefined) return anonymous;
    throw error;
  }
}

async function authenticateCaller(door: Door, request: FastifyRequest): Promise<Caller> {
  const { config } = door;
  const bearer = readBearer(request) ?? (config.token_in_query ? readQueryToken(request) : undefined);
  if (bearer !== undefined) return verify(door, bearer, request.ip);
  const password = config.app_passwords ? readBasicPassword(request) : undefined;
  if (password === undefined) return requireClientCertificate(request);
  const isToken = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(password) || looksLikeMacaroon(password);
  return isToken ? verify(door, password, request.ip) : door.appPasswords.verify(password);
}

async function verify(door: Door, token: string, address: string): Promise<Caller> {
  if (door.macaroons && looksLikeMacaroon(token)) return door.macaroons.verify(token, address);
  const principal = await door.context.verifier.verify(token, { audiences: door.audiences });
  return { ...principal, keyId: keyIdOf(token) };
}

/** Which key signed a token that was verified: what it makes here ends with it, should that key turn out to have leaked. */
export function keyIdOf(token: string): string | undefined {
  const header = Buffer.from(token.slice(0, Math.max(0, token.indexOf('.'))), 'base64url').toString('utf8');
  return /"kid"\s*:\s*"([^"\\]+)"/.exec(header)?.[1];
}

/** `?authz=Bearer%20…`, as XRootD's and dCache's links have it, or `?access_token=…` (RFC 6750 section 2.3). */
export function readQueryToken({ rawTarget }: FastifyRequest): string | undefined {
  const query = rawTarget.indexOf('?');
  if (query === -1) return undefined;
  const parameters = new URLSearchParams(rawTarget.slice(query + 1));
  const token = parameters.get('authz') ?? parameters.get('access_token');
  return token?.replace(/^bearer\s+/i, '') || undefined;
}

/** The user part says nothing that the password does not. */
function readBasicPassword(request: FastifyRequest): string | undefined {
  const [, encoded] = /^basic\s+([a-z0-9+/=]+)\s*$/i.exec(request.headers.authorization ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const pair = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  return colon === -1 ? undefined : pair.slice(colon + 1);
}
