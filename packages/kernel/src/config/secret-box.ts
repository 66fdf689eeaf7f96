import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { WeftError } from '../errors/index.ts';
import { Secret } from './secret.ts';

/** Encrypts credentials at rest. `context` is bound to the ciphertext, so that a row cannot be moved to another owner. */
export interface SecretBox {
  seal(secret: Secret, context: string): Buffer;
  /** @throws {WeftError} `invalid`, code `secret-unreadable`: other key, other context, or damaged. */
  open(sealed: Uint8Array, context: string): Secret;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** AES-256-GCM; the layout is nonce (12 bytes), tag (16 bytes), ciphertext. */
export function createSecretBox(key: Uint8Array): SecretBox {
  if (key.length !== 32) throw new WeftError('invalid', 'secret-key', 'The secret key must have 32 bytes.');
  return {
    seal(secret, context) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
      const text = Buffer.concat([cipher.update(secret.reveal(), 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), text]);
    },
    open(sealed, context) {
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES))
          .setAAD(Buffer.from(context))
          .setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
        const text = Buffer.concat([
          decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES)),
          decipher.final(),
        ]);
        return new Secret(text.toString('utf8'));
      } catch (cause) {
        throw new WeftError(
          'invalid',
          'secret-unreadable',
          `A stored credential (${context}) cannot be decrypted.`,
          { cause },
        );
      }
    },
  };
}
