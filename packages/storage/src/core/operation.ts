import type { StorageOperation } from '@weft/kernel/auth';

/** Scopes know no renaming and no change of properties; macaroons do (brief teapot 2.6). */
export type Operation = StorageOperation | 'rename-from' | 'rename-to' | 'rename-over' | 'update-metadata';

/** What is known about what stands at the path. */
export interface Target {
  readonly collection?: boolean;
  /** It is about everything below, too. */
  readonly tree?: boolean;
}
