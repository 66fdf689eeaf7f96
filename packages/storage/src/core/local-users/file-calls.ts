import { WeftError } from '@weft/kernel/errors';
import type { Durability } from '../files/staged-file.ts';
import type { FileFacts } from '../files/types.ts';
import type { Segments } from '../resource-path.ts';
import type { WorkerIdentity } from './privileges.ts';

/** What a worker is told first. */
export interface WorkerSettings {
  /** Whom it must run as; it ends when it finds itself to be anybody else. */
  readonly identity: WorkerIdentity;
  readonly areas: readonly {
    readonly name: string;
    readonly root: string;
    readonly durability: Durability;
    readonly umask: number;
  }[];
}

/** Calls of `AreaFiles`; what is open in the worker is named by a number. */
export type FileCall =
  | {
      readonly call: 'stat' | 'lookup' | 'permissions' | 'open' | 'list' | 'remove';
      readonly area: string;
      readonly path: Segments;
    }
  | {
      readonly call: 'makeCollection' | 'makeCollections' | 'removeEmptyCollection';
      readonly area: string;
      readonly path: Segments;
    }
  | { readonly call: 'read'; readonly file: number; readonly bytes: number; readonly position: number }
  | { readonly call: 'refresh' | 'close'; readonly file: number }
  | { readonly call: 'next' | 'end'; readonly listing: number }
  | { readonly call: 'stage' | 'space'; readonly area: string }
  /** All of a file at once; its content is the body. */
  | {
      readonly call: 'store';
      readonly area: string;
      readonly path: Segments;
      readonly replace: boolean;
      /** Milliseconds since the epoch. */
      readonly modified?: number;
    }
  | { readonly call: 'write'; readonly staged: number; readonly position: number }
  | {
      readonly call: 'commit';
      readonly staged: number;
      readonly path: Segments;
      readonly replace: boolean;
      /** Milliseconds since the epoch. */
      readonly modified?: number;
    }
  | {
      readonly call: 'writeInto';
      readonly staged: number;
      readonly path: Segments;
      readonly position: number;
    }
  | { readonly call: 'discard'; readonly staged: number }
  | {
      readonly call: 'setModified';
      readonly area: string;
      readonly path: Segments;
      /** Milliseconds since the epoch. */
      readonly modified: number;
    }
  /** Whether the worker answers at all. */
  | { readonly call: 'ping' }
  | {
      readonly call: 'move';
      readonly area: string;
      readonly from: Segments;
      readonly to: Segments;
      readonly replace: boolean;
    }
  | {
      readonly call: 'copy';
      readonly area: string;
      readonly from: Segments;
      readonly to: Segments;
      readonly replace: boolean;
      readonly shallow: boolean;
    };

export interface FileRequest {
  readonly id: number;
  readonly request: FileCall;
}

/** Kinds that a worker's failures may have. */
export const FAILURE_KINDS = [
  'invalid',
  'forbidden',
  'not-found',
  'conflict',
  'too-large',
  'exhausted',
  'unavailable',
  'unexpected',
] as const;

export interface Failure {
  readonly kind: (typeof FAILURE_KINDS)[number];
  readonly code: string;
  readonly message: string;
}

export function printFacts(facts: FileFacts): object {
  return {
    ...facts,
    inode: String(facts.inode),
    modifiedNs: String(facts.modifiedNs),
    createdNs: String(facts.createdNs),
  };
}

export function printFailure(error: unknown): Failure {
  const kind = FAILURE_KINDS.find((known) => error instanceof WeftError && error.kind === known);
  return {
    kind: kind ?? 'unexpected',
    code: (error instanceof WeftError ? error.code : 'unexpected').slice(0, 100),
    message: (error instanceof Error ? error.message : String(error)).slice(0, 2000),
  };
}
