import type { Principal } from '@weft/kernel/auth';
import type { Bounds } from './macaroons/bounds.ts';
import type { Macaroon } from './macaroons/macaroon.ts';

/** Who sends a request: a principal, within the bounds of the macaroon that they came with, if it was one. */
export interface Caller extends Principal {
  readonly bounds?: Bounds | undefined;
  readonly macaroon?: Macaroon | undefined;
}
