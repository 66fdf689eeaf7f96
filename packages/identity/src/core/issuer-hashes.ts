import { createHash } from 'node:crypto';

/**
 * Names under which ALISE's clients ask for an issuer besides its URL: the SHA-1 (and SHA-256) of it in lower-case
 * hexadecimal; of the URL and a newline too, because people pipe `echo` into sha1sum; and with the other spelling of the
 * trailing slash (brief alise-aai 2.1).
 */
export function issuerHashes(url: string): string[] {
  const other = url.endsWith('/') ? url.slice(0, -1) : `${url}/`;
  const texts = [url, other, `${url}\n`, `${other}\n`];
  return texts.flatMap((text) => [hexDigest('sha1', text), hexDigest('sha256', text)]);
}

function hexDigest(algorithm: string, text: string): string {
  return createHash(algorithm).update(text).digest('hex');
}
