import { createHash, timingSafeEqual } from 'node:crypto';
import type { Client } from './clients.ts';
import { oauthError } from './oauth-error.ts';
import { singleParameter } from './token-grant.ts';

const CHALLENGE = /^[A-Za-z0-9_-]{43}$/;
const VERIFIER = /^[A-Za-z0-9._~-]{43,128}$/;

/**
 * The S256 challenge of a request (RFC 7636); `plain` is refused.
 * @throws {WeftError} `invalid_request`
 */
export function readCodeChallenge(parameters: URLSearchParams): string | undefined {
  const challenge = singleParameter(parameters, 'code_challenge');
  if (challenge === undefined) return undefined;
  if (singleParameter(parameters, 'code_challenge_method') !== 'S256' || !CHALLENGE.test(challenge)) {
    throw oauthError('invalid_request', 'Only code_challenge_method=S256 is offered.');
  }
  return challenge;
}

/** Public clients always prove that the code is theirs; confidential ones unless they are listed as too old for it. */
export function requireCodeChallenge(client: Client, challenge: string | undefined): void {
  if (challenge === undefined && (client.secretHash === undefined || client.pkceRequired)) {
    throw oauthError('invalid_request', 'A code_challenge (PKCE, S256) is required.');
  }
}

/** @throws {WeftError} `invalid_grant` */
export function verifyCode(challenge: string | null, verifier: string | undefined): void {
  if (challenge === null && verifier === undefined) return;
  const good =
    challenge !== null &&
    verifier !== undefined &&
    VERIFIER.test(verifier) &&
    timingSafeEqual(createHash('sha256').update(verifier).digest(), Buffer.from(challenge, 'base64url'));
  if (!good) throw oauthError('invalid_grant', 'The code_verifier does not fit.');
}
