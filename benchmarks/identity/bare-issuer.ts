// Bare Fastify with jose, which knows its one client by heart and remembers nothing: `node bare-issuer.ts FOLDER`.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fastify } from 'fastify';
import { generateKeyPair, SignJWT } from 'jose';

const [folder = ''] = process.argv.slice(2);
const known = createHash('sha256').update('a-secret-of-256-bits-for-the-bench').digest();
const { privateKey } = await generateKeyPair('RS256', { modulusLength: 2048 });
const app = fastify({
  https: {
    cert: readFileSync(path.join(folder, 'server.pem')),
    key: readFileSync(path.join(folder, 'server.key')),
  },
});
app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
  done(null, new URLSearchParams(String(body))),
);
app.post('/token', async (request, reply) => {
  const basic = Buffer.from((request.headers.authorization ?? '').slice(6), 'base64').toString();
  const given = createHash('sha256')
    .update(basic.slice(basic.indexOf(':') + 1))
    .digest();
  if (!timingSafeEqual(given, known)) return reply.code(401).send({ error: 'invalid_client' });
  const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
  const scope = form.get('scope') ?? '';
  const now = Math.floor(Date.now() / 1000);
  const token = await new SignJWT({ scope, client_id: 'bench', 'wlcg.ver': '1.0' })
    .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'at+jwt' })
    .setIssuer('https://issuer.bench')
    .setSubject('bench')
    .setAudience(form.get('resource') ?? '')
    .setIssuedAt(now)
    .setNotBefore(now - 60)
    .setExpirationTime(now + 3600)
    .setJti(randomUUID())
    .sign(privateKey);
  return reply
    .header('cache-control', 'no-store')
    .send({ access_token: token, token_type: 'Bearer', expires_in: 3600, scope });
});
const url = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
process.send?.({ port: Number(url.port) });
process.on('disconnect', () => void app.close());
