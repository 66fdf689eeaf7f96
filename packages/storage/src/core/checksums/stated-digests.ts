import { WeftError } from '@weft/kernel/errors';
import { ALGORITHMS, type Algorithm, type Digests } from './digests.ts';

/** How many bytes each checksum has. */
const BYTES: Readonly<Record<Algorithm, number>> = {
  adler32: 4,
  crc32c: 4,
  md5: 16,
  sha: 20,
  'sha-256': 32,
  'sha-512': 64,
};

/** Written as hexadecimal in `Digest` by everybody in this field; the others as base64 (brief teapot 2.4). */
export const HEXADECIMAL: ReadonlySet<Algorithm> = new Set(['adler32', 'crc32c']);

/** Other spellings: `adler` of the IANA registry and of RFC 9530 servers, hyphens that people add or drop. */
const SPELLINGS: ReadonlyMap<string, Algorithm> = new Map([
  ['adler', 'adler32'],
  ['sha1', 'sha'],
  ['sha-1', 'sha'],
  ['sha256', 'sha-256'],
  ['sha512', 'sha-512'],
]);

/** @returns `undefined` for a name that we do not know. */
export function toAlgorithm(name: string): Algorithm | undefined {
  return ALGORITHMS.find((algorithm) => algorithm === name) ?? SPELLINGS.get(name);
}

/**
 * What a sender says that the content sums up to: `Digest`, `Repr-Digest`, `Content-MD5`, `OC-Checksum` of a PUT, or of
 * the answer to our own GET or HEAD. Algorithms that we do not know are skipped.
 *
 * @throws {WeftError} `invalid`, code `invalid-digest`: a value of a known algorithm that cannot be one.
 */
export function statedDigests(get: (name: string) => string | undefined): Digests {
  const { stated, add } = collect();
  for (const item of split(get('digest'))) {
    const equals = item.indexOf('=');
    if (equals > 0) add(item.slice(0, equals), item.slice(equals + 1));
  }
  addDictionary(get('repr-digest'), add);
  const [ocName, ocValue] = (get('oc-checksum') ?? '').split(':');
  if (ocName) add(ocName, ocValue);
  const contentMd5 = get('content-md5');
  if (contentMd5 !== undefined) add('md5', contentMd5);
  return stated;
}

/**
 * What a sender says that the bytes of this one message sum up to, which of a part of a file are not those of the file:
 * `Content-Digest` (RFC 9530) and `Content-MD5`.
 *
 * @throws {WeftError} `invalid`, code `invalid-digest`.
 */
export function statedContentDigests(get: (name: string) => string | undefined): Digests {
  const { stated, add } = collect();
  addDictionary(get('content-digest'), add);
  const contentMd5 = get('content-md5');
  if (contentMd5 !== undefined) add('md5', contentMd5);
  return stated;
}

type Add = (name: string, value: string | undefined) => void;

function collect(): { stated: Digests; add: Add } {
  const stated: { -readonly [A in Algorithm]?: string } = {};
  const refuse = (message: string) => new WeftError('invalid', 'invalid-digest', message);
  return {
    stated,
    add(name, value) {
      const algorithm = toAlgorithm(name.trim().toLowerCase());
      if (algorithm === undefined || value === undefined) return;
      const hex = readValue(algorithm, value.trim());
      if (hex === undefined) throw refuse(`${value.trim().slice(0, 80)} is no ${algorithm} checksum.`);
      if (stated[algorithm] !== undefined && stated[algorithm] !== hex)
        throw refuse(`Two different ${algorithm} checksums are announced.`);
      stated[algorithm] = hex;
    },
  };
}

/** `sha-256=:…:, adler=:…:` of RFC 9530. */
function addDictionary(text: string | undefined, add: Add): void {
  for (const item of split(text)) {
    const [, name, value] = /^([^=]+)=:([^:]*):/.exec(item) ?? [];
    if (name !== undefined) add(name, value);
  }
}

function split(list: string | undefined): string[] {
  return list === undefined ? [] : list.split(',').map((item) => item.trim());
}

/** Hexadecimal or base64, told apart by length; leading zeros that somebody dropped from an adler32 are put back. */
function readValue(algorithm: Algorithm, text: string): string | undefined {
  const bytes = BYTES[algorithm];
  if (HEXADECIMAL.has(algorithm) && /^[0-9a-f]{1,8}$/i.test(text)) return text.toLowerCase().padStart(8, '0');
  if (text.length === bytes * 2 && /^[0-9a-f]+$/i.test(text)) return text.toLowerCase();
  const decoded = Buffer.from(text, 'base64');
  return decoded.length === bytes && /^[A-Za-z0-9+/]+=*$/.test(text) ? decoded.toString('hex') : undefined;
}
