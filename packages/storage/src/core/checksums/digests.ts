import { createHash } from 'node:crypto';
import { ADLER32_EMPTY, formatAdler32, updateAdler32 } from './adler32.ts';
import { updateCrc32c } from './crc32c.ts';

/** In the order in which we offer them: the field's own first, cheap before dear. */
export const ALGORITHMS = ['adler32', 'crc32c', 'md5', 'sha', 'sha-256', 'sha-512'] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** Checksums of one content, in lower-case hexadecimal. */
export type Digests = { readonly [A in Algorithm]?: string };

interface Hasher {
  update(bytes: Uint8Array): void;
  hex(): string;
}

const hashers: Readonly<Record<Algorithm, () => Hasher>> = {
  adler32: () => {
    let state = ADLER32_EMPTY;
    return {
      update: (bytes) => {
        state = updateAdler32(state, bytes);
      },
      hex: () => formatAdler32(state),
    };
  },
  crc32c: () => {
    let state = 0;
    return {
      update: (bytes) => {
        state = updateCrc32c(state, bytes);
      },
      hex: () => state.toString(16).padStart(8, '0'),
    };
  },
  md5: () => nodeHasher('md5'),
  sha: () => nodeHasher('sha1'),
  'sha-256': () => nodeHasher('sha256'),
  'sha-512': () => nodeHasher('sha512'),
};

function nodeHasher(name: string): Hasher {
  const hash = createHash(name);
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

export interface DigestStream {
  update(bytes: Uint8Array): void;
  /** Ends the stream. */
  finish(): Digests;
}

/** Several checksums over one pass of the bytes. */
export function digestStream(algorithms: Iterable<Algorithm>): DigestStream {
  const running = [...new Set(algorithms)].map((algorithm) => ({ algorithm, hasher: hashers[algorithm]() }));
  return {
    update: (bytes) => {
      for (const { hasher } of running) hasher.update(bytes);
    },
    finish: () => Object.fromEntries(running.map(({ algorithm, hasher }) => [algorithm, hasher.hex()])),
  };
}

/** The first algorithm whose values are both known and differ. */
export function findMismatch(
  expected: Digests,
  actual: Digests,
): { algorithm: Algorithm; expected: string; actual: string } | undefined {
  for (const algorithm of ALGORITHMS) {
    const wanted = expected[algorithm];
    const got = actual[algorithm];
    if (wanted !== undefined && got !== undefined && wanted !== got)
      return { algorithm, expected: wanted, actual: got };
  }
  return undefined;
}
