/** `ADLER32:0a1b2c3d` in two parts; the value is empty when the user gave none. */
export interface Checksum {
  /** Lower case: `adler32`, `md5`, `sha-256`. */
  readonly algorithm: string;
  /** As `normalise` leaves it. */
  readonly value: string;
}

export function parseChecksum(text: string): Checksum {
  const [algorithm = 'adler32', value = ''] = text.split(':');
  return { algorithm: algorithm.toLowerCase(), value: value === '' ? '' : normalise(algorithm, value) };
}

/** `0a1b2c3d`; upstream's texts show checksums in this form. */
const HEX_LENGTH: Readonly<Record<string, number>> = {
  adler32: 8,
  crc32: 8,
  crc32c: 8,
  md5: 32,
  sha: 40,
  sha1: 40,
  'sha-256': 64,
  sha256: 64,
  'sha-512': 128,
  sha512: 128,
};

/**
 * One spelling for the many that storages send (brief fts 8.4): lower-case hex at full length; leading zeros may be
 * missing, and digests may come in base64.
 */
export function normalise(algorithm: string, value: string): string {
  const text = value.trim().replace(/^"|"$/g, '');
  const length = HEX_LENGTH[algorithm.toLowerCase()];
  if (/^[0-9a-f]+$/i.test(text) && (length === undefined || text.length <= length))
    return length === undefined ? text.toLowerCase() : text.toLowerCase().padStart(length, '0');
  if (length !== undefined && /^[A-Za-z0-9+/]+=*$/.test(text)) {
    const hex = Buffer.from(text, 'base64').toString('hex');
    if (hex.length === length) return hex;
  }
  return text.toLowerCase();
}

/** The value of one algorithm in a `Digest` header (RFC 3230): `adler32=0a1b2c3d,md5=…`. */
export function digestOf(header: string | null, algorithm: string): string | undefined {
  for (const part of (header ?? '').split(',')) {
    const equals = part.indexOf('=');
    const name = part.slice(0, equals).trim().toLowerCase();
    const value = part.slice(equals + 1).trim();
    if (equals > 0 && name === algorithm && value !== '') return normalise(algorithm, value);
  }
  return undefined;
}
