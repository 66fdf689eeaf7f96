/** One element of DER: its tag, its content, and both together as they were sent. */
export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
  readonly whole: Buffer;
}

const DEEPEST_LENGTH = 4;

/**
 * The elements that fill `bytes`, one after the other; enough of X.690 for certificates.
 * @throws {RangeError} when the bytes are not DER
 */
export function readElements(bytes: Buffer): DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = byteAt(bytes, at);
    if ((tag & 0x1f) === 0x1f) throw new RangeError('a DER tag of several bytes');
    const { length, start } = readLength(bytes, at + 1);
    const end = start + length;
    if (end > bytes.length) throw new RangeError('a DER element that ends too early');
    elements.push({ tag, content: bytes.subarray(start, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return elements;
}

/** The elements inside one element of this tag. */
export function readInside(bytes: Buffer, tag = 0x30): DerElement[] {
  const [element, ...more] = readElements(bytes);
  if (element?.tag !== tag || more.length > 0) throw new RangeError('an unexpected DER element');
  return readElements(element.content);
}

/** Dotted form of the content of an OBJECT IDENTIFIER. */
export function objectIdentifier(content: Buffer): string {
  const numbers: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (!Number.isSafeInteger(value)) throw new RangeError('an object identifier out of bounds');
    if (byte & 0x80) continue;
    numbers.push(value);
    value = 0;
  }
  const [first = 0, ...rest] = numbers;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join('.');
}

/** A small non-negative INTEGER. */
export function smallInteger(content: Buffer): number {
  if (content.length === 0 || content.length > 4 || byteAt(content, 0) & 0x80)
    throw new RangeError('an integer out of bounds');
  return content.readUIntBE(0, content.length);
}

/** Whether a bit of the content of a BIT STRING is set. */
export function bitOf(content: Buffer, bit: number): boolean {
  const byte = content[1 + (bit >> 3)];
  return byte !== undefined && (byte & (0x80 >> (bit & 7))) !== 0;
}

/** Milliseconds since 1970 of a UTCTime or GeneralizedTime, which end in `Z` in certificates (RFC 5280 4.1.2.5). */
export function timeOf({ tag, content }: DerElement): number {
  const text = content.toString('latin1');
  const short = /^(\d{2})(\d{10})Z$/.exec(text);
  const full = tag === 0x17 && short ? `${Number(short[1]) < 50 ? 20 : 19}${text}` : text;
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(full) ?? [];
  if (second === undefined) throw new RangeError('a malformed time');
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

function readLength(bytes: Buffer, at: number): { length: number; start: number } {
  const first = byteAt(bytes, at);
  if (first < 0x80) return { length: first, start: at + 1 };
  const count = first & 0x7f;
  if (count === 0 || count > DEEPEST_LENGTH || at + 1 + count > bytes.length)
    throw new RangeError('a DER length out of bounds');
  return { length: bytes.readUIntBE(at + 1, count), start: at + 1 + count };
}

function byteAt(bytes: Buffer, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new RangeError('DER that ends too early');
  return byte;
}
