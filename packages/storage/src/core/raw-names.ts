/**
 * Names on disk are bytes; jobs of decades ago have left some that are not UTF-8. In this program such a name is a string
 * in which each byte beyond ASCII stands as the lone surrogate U+DC00 + byte, which no text holds: so every name is a string,
 * no two names are the same one, and the bytes come back.
 */
const SURROGATES = 0xdc00;
const LONE = /\p{Surrogate}/gu;

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The name that these bytes are. */
export function nameOfBytes(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : SURROGATES + byte)).join('');
  }
}

/** The bytes that a name or path is. */
export function bytesOfName(name: string): Buffer {
  if (name.isWellFormed()) return Buffer.from(name);
  const parts = Array.from(name, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return isLone(code) ? Buffer.of(code - SURROGATES) : Buffer.from(character);
  });
  return Buffer.concat(parts);
}

/** A path as the file system is given it. */
export function diskPath(path: string): string | Buffer {
  return path.isWellFormed() ? path : bytesOfName(path);
}

/** For texts, which hold no raw bytes: they stand as `%FF`. */
export function printableName(name: string): string {
  if (name.isWellFormed()) return name;
  return name.replace(
    LONE,
    (character) => `%${(character.charCodeAt(0) - SURROGATES).toString(16).toUpperCase()}`,
  );
}

function isLone(code: number): boolean {
  return code >= SURROGATES + 0x80 && code <= SURROGATES + 0xff;
}

/** Two bytes that spell a character of ASCII in too long a form, as `..` is smuggled past checks. */
const OVERLONG = /[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]/;

/**
 * The name that a percent-encoded segment stands for, if its bytes are not UTF-8 and it can be a name on disk: nothing for
 * what is UTF-8, or no such name.
 */
export function rawSegment(encoded: string): string | undefined {
  const latin = encoded.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  // Neither a control character, nor a second encoding, nor a slash.
  if (!/^[\x20-\x7e\x80-\xff]+$/.test(latin) || /[%/]/.test(latin) || OVERLONG.test(latin)) return undefined;
  const name = nameOfBytes(Buffer.from(latin, 'latin1'));
  return name.isWellFormed() ? undefined : name;
}
