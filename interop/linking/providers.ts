// providers.ts CERTIFICATE KEY CALLBACK ISSUER...: the certified oidc-provider as OpenID provider at each of the addresses,
// with a client `linking` whose secret is on standard input. Its own development pages let anybody sign in by name.
// Prints `ready` when all of them listen.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const [certificate = '', key = '', callback = '', ...issuers] = process.argv.slice(2);
const secret = readFileSync(0, 'utf8').trim();
const tls = { cert: readFileSync(certificate), key: readFileSync(key) };

for (const [index, issuer] of issuers.entries()) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'linking',
        client_secret: secret,
        grant_types: ['authorization_code'],
        response_types: ['code'],
        redirect_uris: [callback],
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username', 'eduperson_assurance', 'eduperson_scoped_affiliation'],
      email: ['email'],
    },
    // Only at the userinfo endpoint, as most providers of this field do it.
    conformIdTokenClaims: true,
    pkce: { required: () => true },
    findAccount: (_context, name) => ({
      accountId: name,
      claims: () => ({
        sub: name,
        name: `${name[0]?.toUpperCase()}${name.slice(1).split(/[^a-z]/)[0]} of provider ${index + 1}`,
        preferred_username: name,
        email: `${index}@example.org`,
        eduperson_assurance: ['https://refeds.org/assurance/ID/unique'],
        eduperson_scoped_affiliation: ['member@example.org'],
      }),
    }),
  });
  await new Promise<void>((resolve) => {
    createServer(tls, provider.callback()).listen(Number(new URL(issuer).port), '127.0.0.1', resolve);
  });
}
console.log('ready');
