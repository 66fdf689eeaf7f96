import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLogger } from './log.ts';
import { redactText } from './redact.ts';

/** What a credential looks like, and where it hides: in each of these lines `CREDENTIAL` must not survive. */
const lines: readonly [name: string, line: string][] = [
  ['a bearer header', 'authorization: Bearer CREDENTIAL'],
  ['a bearer header in JSON', '{"authorization":"Bearer CREDENTIAL","x":1}'],
  ['a bearer header in JSON within JSON', '{"body":"{\\"authorization\\":\\"Bearer CREDENTIAL\\"}"}'],
  ['a basic header', 'Authorization: Basic CREDENTIAL'],
  ['a header of Rucio', 'X-Rucio-Auth-Token: CREDENTIAL'],
  ['a header for the third party', 'TransferHeaderAuthorization: Bearer CREDENTIAL'],
  ['a cookie', '"cookie":"CREDENTIAL"'],
  ['an access token in a form', 'grant_type=x&access_token=CREDENTIAL&y=1'],
  ['a refresh token in JSON', '{"refresh_token":"CREDENTIAL"}'],
  ['a client secret', 'client_id=a&client_secret=CREDENTIAL'],
  ['a token to be exchanged', 'subject_token=CREDENTIAL'],
  ['an API key in a query', 'GET /api/v1/user?apikey=CREDENTIAL HTTP/1.1'],
  ['an API key in a path', 'GET /api/v1/target/hpc/validate_apikey/CREDENTIAL'],
  ['an API key in JSON', '{"apikey":"CREDENTIAL"}'],
  ['a header with an API key', 'x-api-key: CREDENTIAL'],
  ['a password', '{"password":"CREDENTIAL"}'],
  ['a password in a database URL', 'postgres://weft:CREDENTIAL@db.example/weft'],
  ['a URL pre-signed for S3', 'https://b.s3.example/k?X-Amz-Date=1&X-Amz-Signature=CREDENTIAL'],
  [
    'a URL pre-signed for S3, old kind',
    'https://b.example/k?AWSAccessKeyId=a&Signature=CREDENTIAL&Expires=1',
  ],
  ['a URL pre-signed for GCS', 'https://storage.example/k?X-Goog-Signature=CREDENTIAL'],
  ['a URL pre-signed for Azure', 'https://a.blob.example/k?sv=1&sig=CREDENTIAL&se=2'],
  ['a macaroon in a query', 'https://dcache.example/f?authz=CREDENTIAL'],
  ['a device code', 'device_code=CREDENTIAL'],
  ['a code verifier', 'code_verifier=CREDENTIAL'],
];

const base64url = fc.stringMatching(/^[A-Za-z0-9_-]{16,60}$/);

describe('a log', () => {
  it.each(lines)('does not tell %s', (_name, line) => {
    fc.assert(
      fc.property(base64url, (credential) => {
        expect(redactText(line.replace('CREDENTIAL', credential))).not.toContain(credential);
      }),
      { numRuns: 50 },
    );
  });

  it('does not tell a JWT wherever it stands', () => {
    const header = Buffer.from('{"alg":"ES256"}').toString('base64url');
    fc.assert(
      fc.property(fc.string({ maxLength: 20 }), base64url, base64url, (before, payload, signature) => {
        expect(redactText(`${before} ${header}.${payload}.${signature}`)).not.toContain(signature);
      }),
      { numRuns: 200 },
    );
  });

  it('does not tell a private key', () => {
    const key = '-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----';
    expect(redactText(`error: ${key}`)).toBe('error: ***PRIVATE KEY***');
  });

  // Strangers write it: the path of a request alone. What takes the square of its length takes minutes of everybody here.
  it.each([
    'a',
    '-eyJabcdefgh',
    'transferheader',
    '-----BEGIN PRIVATE KEY-----',
    '://a:',
    'Bearer  ',
    '-MDAx',
    'secret ',
  ])('is soon written, however often %j stands in a line', (crafted) => {
    const line = crafted.repeat(1_000_000 / crafted.length);
    expect(redactText(`${line} apikey=abcdefgh`)).not.toContain('abcdefgh ');
  });

  it('keeps the words around, and what is no credential', () => {
    for (const line of [
      'GET /rses?expression=country=US 200',
      'files: 12, secret_key_file: /etc/weft/secret.key',
      'https://storage.example/a/b?x=1',
    ])
      expect(redactText(line)).toBe(line);
    expect(redactText('Authorization: Bearer abcdefghijkl failed')).toBe('Authorization: Bearer *** failed');
  });

  it('is redacted as it is written: in messages, nested fields and errors', () => {
    const lines: string[] = [];
    const log = createLogger({ name: 'test', write: (line) => void lines.push(line) });
    log.info({ request: { headers: { authorization: 'Bearer abcdefghijklmnop' } } }, 'sent apikey=abcdefgh');
    log.error({ err: new Error('GET https://u:hunter22@h/ failed') }, 'failed');
    const written = lines.join('');
    expect(written).not.toMatch(/abcdefgh|hunter22/);
    expect(written).toContain('apikey=***');
  });

  it('does not tell a macaroon, wherever it stands', () => {
    const first = Buffer.from(
      '0023location https://127.0.0.11:8081\n0020identifier abc.1.AAAAAAAAAAAA\n',
    ).toString('base64url');
    const second = Buffer.concat([Buffer.from([2, 1, 23]), Buffer.from('https://127.0.0.11:8081'.repeat(3))]);
    for (const text of [first, second.toString('base64url')]) {
      expect(redactText(`refused ${text} of alice`)).toBe('refused *** of alice');
      expect(redactText(`{"macaroon":"${text}"}`)).toBe('{"macaroon":"***"}');
    }
  });
});
