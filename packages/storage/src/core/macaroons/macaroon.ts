import { createHmac, timingSafeEqual } from 'node:crypto';

/** A credential that whoever holds it can narrow, without asking, by adding caveats; nobody can take one away. */
export interface Macaroon {
  /** Who made it; a hint for people, not signed. */
  readonly location: string;
  /** Says to its maker which key signs it. */
  readonly identifier: string;
  /** First-party caveats, in the order in which they were added. */
  readonly caveats: readonly string[];
  /** 32 bytes. */
  readonly signature: Buffer;
}

/** libmacaroons derives the key of the first signature with this; other implementations follow it. */
const KEY_GENERATOR = 'macaroons-key-generator';

/**
 * A macaroon under a root key: the signature of the identifier is the key that signs the first caveat, and so on. The
 * last signature alone goes out, so that a holder can go on and cannot go back.
 */
export function makeMacaroon(
  rootKey: Buffer,
  { location, identifier, caveats }: Omit<Macaroon, 'signature'>,
): Macaroon {
  const first = sign(sign(KEY_GENERATOR, rootKey), identifier);
  return { location, identifier, caveats, signature: caveats.reduce<Buffer>(sign, first) };
}

/** The same with one caveat more: what any holder can do. */
export function addCaveat(macaroon: Macaroon, caveat: string): Macaroon {
  return {
    ...macaroon,
    caveats: [...macaroon.caveats, caveat],
    signature: sign(macaroon.signature, caveat),
  };
}

/** Whether the signature is what the root key makes of identifier and caveats; takes as long for any wrong one. */
export function isSignedWith(macaroon: Macaroon, rootKey: Buffer): boolean {
  const { signature } = makeMacaroon(rootKey, macaroon);
  return signature.length === macaroon.signature.length && timingSafeEqual(signature, macaroon.signature);
}

function sign(key: string | Buffer, message: string | Buffer): Buffer {
  return createHmac('sha256', key).update(message).digest();
}
