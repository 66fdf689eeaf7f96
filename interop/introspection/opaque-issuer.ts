// opaque-issuer.ts ISSUER AUDIENCE: the certified oidc-provider, whose access tokens are opaque without resources. The secret of
// its clients `weft` and `robot` is on standard input. Prints a token of the user alice, and then `ready`.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [issuer = ''] = process.argv.slice(2);
const secret = readFileSync(0, 'utf8').trim();
const scope = 'openid storage.read:/ storage.create:/robot';
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(issuer, {
  clients: ['weft', 'robot'].map((client_id) => ({
    client_id,
    client_secret: secret,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    scope,
  })),
  scopes: scope.split(' '),
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  claims: { openid: ['sub', 'groups'] },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  findAccount: (_context, name) => ({
    accountId: name,
    claims: () => ({ sub: name, groups: ['drought'] }),
  }),
});
createServer(provider.callback()).listen(Number(new URL(issuer).port), '127.0.0.1', async () => {
  const client = await provider.Client.find('robot');
  if (client === undefined) throw new Error('no client');
  const grant = new provider.Grant({ accountId: 'alice', clientId: 'robot' });
  grant.addOIDCScope('openid storage.read:/');
  const grantId = await grant.save();
  const token = new provider.AccessToken({
    accountId: 'alice',
    client,
    grantId,
    gty: 'authorization_code',
    scope: 'openid storage.read:/',
  });
  console.log(await token.save());
  console.log('ready');
});
