import { WeftError } from '@weft/kernel/errors';

/** The words of RFC 6749 5.2, RFC 8628 3.5, RFC 8693 2.2.2 and RFC 8707 2. */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'access_denied';

/** A refusal of the token endpoint and its neighbours; `code` is what the client reads. */
export function oauthError(code: OAuthErrorCode, description: string): WeftError {
  return new WeftError(code === 'invalid_client' ? 'unauthenticated' : 'invalid', code, description);
}
