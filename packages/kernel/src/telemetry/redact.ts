/**
 * What must never stand in a log: each pattern keeps the words around the credential and replaces the credential. Works
 * on text, because credentials hide in URLs, headers, error messages and nested JSON alike.
 *
 * Strangers choose what is in a line (its path alone may have 128 KiB), so no pattern may begin at many places of a run and
 * read to the end of it: that takes the square of its length, which is seconds for everybody else.
 */
const CREDENTIALS: readonly [RegExp, string][] = [
  // JWTs wherever they stand, also cut off; the header segment always begins with {" in base64url.
  [/\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}/g, '***'],
  // Macaroons: the first packet is `00..location `; the second form begins with the byte 2 and the type 1.
  [/\bMDA[w-z0-5][A-Za-z0-9_/+-]{40,}|\bAgE[A-Za-z0-9_/+-]{60,}/g, '***'],
  [/\b(Bearer|Basic|DPoP)\s+[A-Za-z0-9._~+/=-]{8,}/gi, '$1 ***'],
  // Header-like and JSON-like pairs: "authorization":"…", x-rucio-auth-token: …
  [
    /((?:proxy-)?authorization|x-rucio-auth-token|transferheader\w{0,64}|cookie|set-cookie|x-api-key)(\\?["']?\s*[:=]\s*\\?["']?)(?!Bearer|Basic|DPoP)[^"'\\\s,;}]+/gi,
    '$1$2***',
  ],
  [
    /\b(access_token|refresh_token|id_token|client_secret|password|passwd|apikey|api_key|code_verifier|device_code|subject_token|authz|secret)(\\?["']?\s*[:=]\s*\\?["']?)[^"'\\\s&,;}]+/gi,
    '$1$2***',
  ],
  // ALISE has the key in the path.
  [/(\/validate_apikey\/)[^/?\s"'\\]+/g, '$1***'],
  // Pre-signed URLs of S3, GCS and Azure, and user:password@host.
  [/\b(X-Amz-Signature|X-Amz-Credential|X-Goog-Signature|Signature|sig)=[^&\s"'\\]+/g, '$1=***'],
  [/(:\/\/[^\s/:@"']+):[^\s/@"']+@/g, '$1:***@'],
  // Also cut off: then up to the end of the text, or of the string in JSON.
  [
    /-----BEGIN [A-Z ]*PRIVATE KEY-----[^"']*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=["'])|$)/g,
    '***PRIVATE KEY***',
  ],
];

/** Replaces every credential in `text` by `***`. */
export function redactText(text: string): string {
  let clean = text;
  for (const [pattern, replacement] of CREDENTIALS) clean = clean.replace(pattern, replacement);
  return clean;
}
