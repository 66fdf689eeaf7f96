import { createHash, randomBytes } from 'node:crypto';

/** Namespace of every deterministic id of this protocol; clients read it from `/whoami` (brief fts 2.2). */
export const BASE_ID = '01874efb-4735-4595-bc9c-591aef8240c9';

/** Name-based UUID, version 5 (RFC 9562 5.5). */
export function uuid5(namespace: string, name: string): string {
  const hash = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest();
  return formatUuid(hash.subarray(0, 16), 5);
}

/** 100 ns intervals between the Gregorian reform and the Unix epoch (RFC 9562 5.1). */
const GREGORIAN_OFFSET = 122_192_928_000_000_000n;

/** Time-based UUID, version 1, with a random node, as jobs have them when the client does not choose. */
export function uuid1(now: number = Date.now()): string {
  const random = randomBytes(10);
  // The clock has milliseconds; random ticks below keep ids of one millisecond apart.
  const ticks = BigInt(now) * 10_000n + BigInt(random.readUInt16BE(8) % 10_000) + GREGORIAN_OFFSET;
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(Number(ticks & 0xffff_ffffn), 0);
  bytes.writeUInt16BE(Number((ticks >> 32n) & 0xffffn), 4);
  bytes.writeUInt16BE(Number((ticks >> 48n) & 0x0fffn), 6);
  random.copy(bytes, 8, 0, 8);
  // Multicast bit: not a real network card.
  bytes.writeUInt8(bytes.readUInt8(10) | 0x01, 10);
  return formatUuid(bytes, 1);
}

function formatUuid(bytes: Uint8Array, version: number): string {
  const copy = Buffer.from(bytes);
  copy.writeUInt8((copy.readUInt8(6) & 0x0f) | (version << 4), 6);
  copy.writeUInt8((copy.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = copy.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

/** Id that a client may choose through `sid`: `uuid5(uuid5(base_id, vo), sid)` (brief fts 2.6). */
export function deterministicJobId(vo: string, sid: string): string {
  return uuid5(uuid5(BASE_ID, vo), sid);
}

/** First 16 hex digits of SHA-1: delegation ids (of issuer and subject) and token ids (of the token). */
export function shortHash(text: string): string {
  return createHash('sha1').update(text).digest('hex').slice(0, 16);
}
