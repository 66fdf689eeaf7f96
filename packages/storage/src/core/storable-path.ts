import { WeftError } from '@weft/kernel/errors';

/**
 * Bytes of a path that has locks or properties, or is staged: those are found by an index, whose entries PostgreSQL limits to
 * 2704 bytes together with what else is in them. Files have paths of up to 4096 bytes.
 */
export const MAXIMUM_STORABLE_BYTES = 2000;

/** @throws {WeftError} `invalid`, code `path-too-long`. */
export function requireStorablePath(plain: string): void {
  if (Buffer.byteLength(plain) <= MAXIMUM_STORABLE_BYTES) return;
  throw new WeftError(
    'invalid',
    'path-too-long',
    `The path is longer than ${MAXIMUM_STORABLE_BYTES} bytes; such a file can be stored, but nothing be noted about its name.`,
  );
}
