import { WeftError } from '@weft/kernel/errors';

/** The words of RFC 6749 4.1.2.1 and 5.2, RFC 7591 3.2.2, RFC 8628 3.5, RFC 8693 2.2.2 and RFC 8707 2. */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'access_denied'
  | 'authorization_pending'
  | 'slow_down'
  | 'expired_token'
  | 'invalid_redirect_uri'
  | 'invalid_client_metadata'
  | 'invalid_token'
  | 'login_required'
  | 'consent_required'
  | 'unsupported_response_type';

/** A refusal of the token endpoint and its neighbours; `code` is what the client reads. */
export function oauthError(code: OAuthErrorCode, description: string): WeftError {
  return new WeftError(
    ['invalid_client', 'invalid_token'].includes(code) ? 'unauthenticated' : 'invalid',
    code,
    description,
  );
}
