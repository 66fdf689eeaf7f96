// The certified oidc-provider with its memory adapter and JWT access tokens: `node oidc-provider-issuer.ts FOLDER`.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import path from 'node:path';
import Provider from 'oidc-provider';

const [folder = ''] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider('https://issuer.bench', {
  clients: [
    {
      client_id: 'bench',
      client_secret: 'a-secret-of-256-bits-for-the-bench',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: 'storage.read:/',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
const server = createServer(
  {
    cert: readFileSync(path.join(folder, 'server.pem')),
    key: readFileSync(path.join(folder, 'server.key')),
  },
  provider.callback(),
);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined });
});
process.on('disconnect', () => {
  server.close();
  server.closeAllConnections();
});
