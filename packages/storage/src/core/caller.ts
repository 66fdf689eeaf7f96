import type { Principal } from '@weft/kernel/auth';
import type { AccessRules } from './access/access-rules.ts';
import type { Bounds } from './macaroons/bounds.ts';
import type { Macaroon } from './macaroons/macaroon.ts';

/** Who sends a request: a principal, within the bounds of the macaroon that they came with, if it was one. */
export interface Caller extends Principal {
  readonly bounds?: Bounds | undefined;
  readonly macaroon?: Macaroon | undefined;
  /** Of the key that signed the token that they came with, or the one that made their macaroon. */
  readonly keyId?: string | undefined;
  /** Where the configuration says more about rights than the scopes do. */
  readonly access?: AccessRules | undefined;
  /** The local account, in multi-user mode, once it is known; for policies. */
  readonly account?: string | undefined;
  /** No credential at all. */
  readonly anonymous?: boolean;
}
