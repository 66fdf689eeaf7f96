/** Castagnoli's polynomial, reflected (RFC 3720, B.4). */
const POLYNOMIAL = 0x82f63b78;

/** Slicing by 8: table k gives the effect of a byte that lies k bytes before the end of the group. */
const tables: readonly Int32Array[] = makeTables();

function makeTables(): Int32Array[] {
  const first = Int32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    return value;
  });
  const all = [first];
  for (let k = 1; k < 8; k++) {
    const previous = all[k - 1] as Int32Array;
    all.push(previous.map((value) => (value >>> 8) ^ (first[value & 0xff] as number)));
  }
  return all;
}

const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
];

/** Continues a CRC-32C over `bytes`; begin with 0. */
export function updateCrc32c(crc: number, bytes: Uint8Array): number {
  let c = ~crc;
  const length = bytes.length;
  const grouped = length - (length & 7);
  let index = 0;
  for (; index < grouped; index += 8) {
    c ^=
      at(bytes, index) |
      (at(bytes, index + 1) << 8) |
      (at(bytes, index + 2) << 16) |
      (at(bytes, index + 3) << 24);
    c =
      at(t7, c & 0xff) ^
      at(t6, (c >>> 8) & 0xff) ^
      at(t5, (c >>> 16) & 0xff) ^
      at(t4, c >>> 24) ^
      at(t3, at(bytes, index + 4)) ^
      at(t2, at(bytes, index + 5)) ^
      at(t1, at(bytes, index + 6)) ^
      at(t0, at(bytes, index + 7));
  }
  for (; index < length; index++) c = at(t0, (c ^ at(bytes, index)) & 0xff) ^ (c >>> 8);
  return ~c >>> 0;
}

/** An element that is known to be there. */
function at(array: Uint8Array | Int32Array, index: number): number {
  return array[index] as number;
}
