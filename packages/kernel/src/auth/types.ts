import type { Secret } from '../config/index.ts';

export type PrincipalKind = 'user' | 'service' | 'certificate' | 'api-key' | 'local';

/** `storage.read:/data` → `{ action: 'read', path: ['data'], directoryOnly: false }` (brief alise-aai 3.4). */
export interface PathScope {
  readonly action: 'read' | 'create' | 'modify' | 'stage' | 'poll';
  readonly path: readonly string[];
  readonly directoryOnly: boolean;
}

/** Who is asking, whatever the credential was. Frozen; the raw token is not in it (brief alise-aai 3.1 step 9, 3.12). */
export interface Principal {
  readonly kind: PrincipalKind;
  readonly issuer: string;
  /** `sub` of the token; for services equal to `clientId`. */
  readonly subject: string;
  readonly clientId: string | undefined;
  /** Every scope as it was written. */
  readonly scopes: ReadonlySet<string>;
  readonly pathScopes: readonly PathScope[];
  readonly groups: readonly string[];
  readonly entitlements: readonly string[];
  readonly assurance: ReadonlySet<string>;
  readonly audience: readonly string[];
  readonly expiresAt: Date;
  readonly jti: string | undefined;
  /** Subjects of the `act` chain, outermost first: who acts for the user. */
  readonly actors: readonly string[];
  /** `name`, `preferred_username`, `email` when the issuer puts them into access tokens. */
  readonly profile: Readonly<Record<string, string>>;
  /** Of callers known by a client certificate: `subject` is its name in one-line form, `issuer` that of its authority. */
  readonly certificate?: CertificateDetails;
}

/** What a client certificate says beyond who it is; `groups` of the principal are those of the attributes. */
export interface CertificateDetails {
  /** How many proxies stand between the caller and the certificate. */
  readonly proxies: number;
  /** A limited proxy may move files, but not start jobs. */
  readonly limited: boolean;
  /** The VO of the primary VOMS attribute. */
  readonly vo: string | undefined;
  /** `/vo/group`, `/vo/group/Role=production`; the first is the primary one. */
  readonly fqans: readonly string[];
}

/** Why a credential was refused; `code` is RFC 6750's. The message names the failed check, never the token. */
export type TokenRefusal = 'invalid_request' | 'invalid_token' | 'insufficient_scope';

export interface VerifyOptions {
  /** Audiences that this service answers to; at least one must stand in `aud`. */
  audiences: readonly string[];
}

export interface TokenVerifier {
  /**
   * Verifies a raw access token (brief alise-aai 3.1).
   * @throws {WeftError} `unauthenticated`, code `invalid_token`, message naming the failed check.
   */
  verify(token: string, options: VerifyOptions): Promise<Principal>;
  close(): Promise<void>;
}

/** A verifier that tells which issuers do not answer at the moment. */
export interface WatchedVerifier extends TokenVerifier {
  unreachableIssuers(): string[];
}

export interface TrustedIssuer {
  /** Exactly as in `iss`. */
  readonly issuer: string;
  /** The one other spelling that is accepted, e.g. with a trailing slash. */
  readonly alternative?: string;
  readonly algorithms?: readonly string[];
  /** Longest `exp - iat` in seconds. Default 24 h, 6 h for tokens of the WLCG profile. */
  readonly maximumLifetimeSeconds?: number;
  /** Accept `https://wlcg.cern.ch/jwt/v1/any`. Default false. */
  readonly allowWildcardAudience?: boolean;
  /** What it writes into `aud` instead of the service's own address (Keycloak: `account`); taken besides that. */
  readonly audiences?: readonly string[];
  /** Default true. False takes tokens whatever `aud` says: only for issuers that cannot say whom a token is for. */
  readonly requireAudience?: boolean;
  /** Ask for groups and other claims about people that are not in the token itself, where it has the scope `openid`. */
  readonly userinfo?: boolean;
  /** Ask the issuer about tokens that are no JWTs (RFC 7662). */
  readonly introspection?: IntrospectionClient;
}

/** As whom we ask an issuer about opaque tokens. */
export interface IntrospectionClient {
  readonly clientId: string;
  readonly clientSecret: Secret;
  /**
   * What all opaque tokens of this issuer begin with (`ya29.`). Needed when several issuers are asked: a token is shown
   * to one of them, never to one after the other.
   */
  readonly tokenPrefix?: string;
}

export interface TokenRequest {
  /** Of the service that will be called. */
  audience: string;
  /** The least that does the job. */
  scopes: readonly string[];
}

/** Where a component gets tokens for its calls to others (DESIGN "Who acts"). */
export interface TokenSource {
  /** The component's own client credentials; cached until shortly before `exp`. */
  own(request: TokenRequest): Promise<string>;
  /** A user's token exchanged for another audience (RFC 8693); the result carries `act`. Not cached. */
  exchange(subjectToken: string, request: TokenRequest): Promise<ExchangedToken>;
  /** New access token from a refresh token that an exchange with `offline_access` gave. */
  refresh(refreshToken: Secret, request: TokenRequest): Promise<ExchangedToken>;
}

export interface ExchangedToken {
  readonly accessToken: string;
  readonly expiresAt: Date;
  readonly scopes: readonly string[];
  /** Present when `offline_access` was asked for and granted. */
  readonly refreshToken?: Secret;
}

/** What a component needs to get tokens; the secret lies in a 0600 file in the embedded default. */
export interface ClientCredentials {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: Secret;
}

export type StorageOperation =
  | 'read-data'
  | 'stat'
  | 'list'
  | 'create'
  | 'make-collection'
  | 'overwrite'
  | 'delete'
  | 'stage'
  | 'poll';
