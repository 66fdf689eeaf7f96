import type { Role } from '@weft/kernel/component';

/** What a process of `weft serve` is told. */
export interface ServeOptions {
  readonly config: string;
  readonly role: Role;
  /** Storage serves one site a process. */
  readonly site?: string;
}
