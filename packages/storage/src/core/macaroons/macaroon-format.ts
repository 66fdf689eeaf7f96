import { invalidToken } from '@weft/kernel/auth';
import type { Macaroon } from './macaroon.ts';

/**
 * The two binary forms of a macaroon, as libmacaroons writes them, in base64url. We write the first, which everybody
 * reads; a holder who adds a caveat may write it back in either.
 *
 * Form 1 is a row of packets `<length, 4 hexadecimal digits><key> <value>\n`, the length counting itself: `location`,
 * `identifier`, a `cid` for each caveat, `signature`. Form 2 is the byte 2 and rows of `<type><length><value>` with numbers
 * as LEB128, each row closed by type 0.
 */
const MAXIMUM_TEXT = 32 * 1024;
const MAXIMUM_CAVEATS = 200;
const SIGNATURE_BYTES = 32;

/** Whether a bearer token can be a macaroon at all; JSON Web Tokens cannot. */
export function looksLikeMacaroon(token: string): boolean {
  return /^(MDA|Ag)[\w+/-]+={0,2}$/.test(token);
}

export function printMacaroon({ location, identifier, caveats, signature }: Macaroon): string {
  const packets = [
    packet('location', location),
    packet('identifier', identifier),
    ...caveats.map((caveat) => packet('cid', caveat)),
    packet('signature', signature),
  ];
  return Buffer.concat(packets).toString('base64url');
}

/** @throws {WeftError} `unauthenticated`, code `invalid_token`: damaged, too long, or with caveats for third parties. */
export function parseMacaroon(text: string): Macaroon {
  if (text.length > MAXIMUM_TEXT) throw invalidToken('the macaroon is too long');
  // Node's decoder takes both alphabets, and passes over what is in neither: that was checked by `looksLikeMacaroon`.
  const bytes = Buffer.from(text, 'base64url');
  const fields = bytes[0] === 2 ? readRows(bytes) : readPackets(bytes);
  return assemble(fields);
}

type FieldName = 'location' | 'identifier' | 'cid' | 'signature';

interface Field {
  readonly name: FieldName;
  readonly value: Buffer;
}

function assemble(fields: readonly Field[]): Macaroon {
  const one = (name: FieldName) => {
    const [found, ...more] = fields.filter((field) => field.name === name);
    if (!found || more.length > 0) throw damaged();
    return found.value;
  };
  const caveats = fields.filter(({ name }) => name === 'cid').map(({ value }) => textOf(value));
  if (caveats.length > MAXIMUM_CAVEATS) throw invalidToken('the macaroon has too many caveats');
  const signature = one('signature');
  if (signature.length !== SIGNATURE_BYTES) throw damaged();
  return {
    location: fields.some(({ name }) => name === 'location') ? textOf(one('location')) : '',
    identifier: textOf(one('identifier')),
    caveats,
    signature,
  };
}

const LENGTH_DIGITS = 4;

function packet(key: FieldName, value: string | Buffer): Buffer {
  const content = Buffer.concat([Buffer.from(`${key} `), Buffer.from(value), Buffer.from('\n')]);
  const length = (content.length + LENGTH_DIGITS).toString(16).padStart(LENGTH_DIGITS, '0');
  return Buffer.concat([Buffer.from(length), content]);
}

/** The order is fixed: nothing may follow the signature, no caveat may stand before the identifier. */
function readPackets(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const digits = bytes.toString('latin1', at, at + LENGTH_DIGITS);
    const length = /^[0-9a-f]{4}$/i.test(digits) ? Number.parseInt(digits, 16) : 0;
    const content = bytes.subarray(at + LENGTH_DIGITS, at + length);
    const space = content.indexOf(' ');
    if (content.length !== length - LENGTH_DIGITS || space === -1 || content.at(-1) !== 0x0a) throw damaged();
    fields.push({
      name: nameOf(content.toString('latin1', 0, space)),
      value: content.subarray(space + 1, -1),
    });
    at += length;
  }
  const order = fields.map(({ name }) => name).join(' ');
  if (!/^location identifier( cid)* signature$/.test(order)) throw damaged();
  return fields;
}

function nameOf(key: string): FieldName {
  switch (key) {
    case 'location':
    case 'identifier':
    case 'cid':
    case 'signature':
      return key;
    case 'vid':
    case 'cl':
      throw thirdParty();
    default:
      throw damaged();
  }
}

const ROW_END = 0;
const LOCATION = 1;
const IDENTIFIER = 2;
const VERIFICATION = 4;
const SIGNATURE = 6;

function readRows(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 1;

  function number(): number {
    let value = 0;
    for (let shift = 0; shift < 21; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw damaged();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw damaged();
  }
  function value(type: number): Buffer | undefined {
    if (bytes[at] !== type) return undefined;
    at += 1;
    const length = number();
    if (at + length > bytes.length) throw damaged();
    at += length;
    return bytes.subarray(at - length, at);
  }
  function required<Value>(found: Value | undefined): Value {
    if (found === undefined) throw damaged();
    return found;
  }
  const end = () => {
    if (bytes[at++] !== ROW_END) throw damaged();
  };

  const location = value(LOCATION);
  if (location) fields.push({ name: 'location', value: location });
  fields.push({ name: 'identifier', value: required(value(IDENTIFIER)) });
  end();
  while (bytes[at] !== ROW_END) {
    if (bytes[at] === LOCATION) throw thirdParty();
    fields.push({ name: 'cid', value: required(value(IDENTIFIER)) });
    if (bytes[at] === VERIFICATION) throw thirdParty();
    end();
  }
  end();
  fields.push({ name: 'signature', value: required(value(SIGNATURE)) });
  if (at !== bytes.length) throw damaged();
  return fields;
}

/** Identifiers and caveats of ours are text; other bytes would be signed as something else than they are read as. */
function textOf(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text).equals(bytes)) throw damaged();
  return text;
}

function damaged() {
  return invalidToken('the macaroon is damaged');
}

function thirdParty() {
  return invalidToken('the macaroon needs the word of a third party, which is not offered');
}
