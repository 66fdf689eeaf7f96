import type { Principal } from '@weft/kernel/auth';
import type { Bounds } from './macaroons/bounds.ts';
import type { Macaroon } from './macaroons/macaroon.ts';
import type { Operation, Target } from './operation.ts';
import type { Segments } from './segments.ts';

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

/** What the configuration says about rights besides the scopes of tokens (brief teapot 2.10). */
export interface AccessRules {
  /** The caller as these rules see them: scopes under the prefix of their issuer. */
  enter(caller: Caller): Caller;
  /** Somebody without a credential; nothing where nobody such is let in. */
  readonly anonymous: Caller | undefined;
  /** What the area's own rules decide; `silent`: the scopes of the token do. */
  decide(caller: Caller, operation: Operation, path: Segments, target?: Target): PolicyDecision;
  /** Whether a scope for staging lets its bearer read here, as before version 1.2 of the profile. */
  stageImpliesRead(path: Segments): boolean;
  /** A path as the scopes of the caller's issuer spell it; nothing outside of their prefix. */
  scopePath(caller: Caller, path: Segments): Segments | undefined;
}

export interface PolicyDecision {
  readonly effect: 'permit' | 'deny' | 'silent';
  /** For people: which rule decided. */
  readonly why: string;
}
