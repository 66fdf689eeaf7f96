import { createHash } from 'node:crypto';

/** A relative distinguished name as it stands in the authority's subject, in certificate order. */
export interface NamePart {
  readonly type: 'O' | 'CN';
  readonly value: string;
}

const OBJECT_IDENTIFIERS: Record<NamePart['type'], readonly number[]> = {
  O: [0x55, 0x04, 0x0a],
  CN: [0x55, 0x04, 0x03],
};

function der(tag: number, content: Uint8Array): Buffer {
  if (content.length >= 0x80) throw new RangeError('names of authorities are short');
  return Buffer.concat([Uint8Array.of(tag, content.length), content]);
}

/**
 * OpenSSL's subject hash, which names the files of a certificate folder (`4f2c81aa.0`): SHA-1 over the canonical encoding of
 * the name (each RDN as a SET; strings as UTF-8, lower case, white space collapsed; no outer SEQUENCE), its first four
 * bytes read as a little-endian number. See OpenSSL, X509_NAME_hash.
 */
export function subjectHash(name: readonly NamePart[]): string {
  const canonical = Buffer.concat(
    name.map(({ type, value }) => {
      const text = value.trim().replace(/\s+/g, ' ').toLowerCase();
      const attribute = der(
        0x30,
        Buffer.concat([der(0x06, Uint8Array.from(OBJECT_IDENTIFIERS[type])), der(0x0c, Buffer.from(text))]),
      );
      return der(0x31, attribute);
    }),
  );
  return createHash('sha1').update(canonical).digest().readUInt32LE(0).toString(16).padStart(8, '0');
}

/** The slash form that grid software uses: `/O=Weft/CN=Weft local CA`. */
export function slashForm(name: readonly NamePart[]): string {
  return name.map(({ type, value }) => `/${type}=${value}`).join('');
}

/** IGTF signing policy: this authority may sign every name. */
export function signingPolicy(name: readonly NamePart[]): string {
  return [
    `access_id_CA   X509   '${slashForm(name)}'`,
    'pos_rights     globus CA:sign',
    `cond_subjects  globus '"/*"'`,
    '',
  ].join('\n');
}
