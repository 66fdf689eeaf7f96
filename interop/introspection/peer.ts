import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { serveWeft } from '../harness/serve.ts';

/** oidc-provider, the certified library, gives opaque tokens; a storage asks it about them (RFC 7662, userinfo). */
const peer: Peer = {
  name: 'introspection',
  components: ['identity', 'storage'],
  install: (tools) => tools.needCommand('curl', ['curl', 'ca-certificates']),

  async quick(suite) {
    const base = Number(new URL(suite.instance.endpoints.issuer).port) + 360;
    const issuer = `http://127.0.0.1:${base}`;
    const storage = `https://localhost:${base + 1}`;
    const secret = randomBytes(24).toString('hex');
    const provider = await startIssuer(issuer, secret);
    try {
      const service = await serveStorage(suite, issuer, storage, secret);
      try {
        await check(suite, { issuer, storage, secret, aliceToken: provider.token });
      } finally {
        await service.stop();
      }
    } finally {
      await provider.stop();
    }
  },
};

export default peer;

async function check(
  suite: Suite,
  { issuer, storage, secret, aliceToken }: Record<'issuer' | 'storage' | 'secret' | 'aliceToken', string>,
): Promise<void> {
  const curl = async (...args: string[]) =>
    (
      await suite.tools.succeed('curl', [
        ...['--silent', '--show-error', '--cacert', suite.instance.endpoints.ca, ...args],
      ])
    ).stdout;
  const status = (token: string, ...args: string[]) =>
    curl(
      ...[
        '--output',
        '/dev/null',
        '--write-out',
        '%{http_code}',
        '--header',
        `Authorization: Bearer ${token}`,
      ],
      ...args,
    );
  const robot = async (): Promise<string> => {
    const form = [
      '--data',
      'grant_type=client_credentials',
      '--data-urlencode',
      'scope=storage.create:/robot',
    ];
    const answer: { access_token: string } = JSON.parse(
      await curl('--user', `robot:${secret}`, ...form, `${issuer}/token`),
    );
    return answer.access_token;
  };
  const file = path.join(suite.folder, 'file');
  writeFileSync(file, 'content');

  await suite.check('a user’s opaque token reads, and does not write', async () => {
    expectEqual(await status(aliceToken, `${storage}/`), '200', 'GET');
    expectEqual(await status(aliceToken, '--upload-file', file, `${storage}/robot`), '403', 'PUT');
  });
  const token = await robot();
  await suite.check('a service’s opaque token writes where its scope says', async () => {
    expectEqual(await status(token, '--upload-file', file, `${storage}/robot`), '201', 'PUT');
    expectEqual(await status(token, '--upload-file', file, `${storage}/elsewhere`), '403', 'PUT elsewhere');
  });
  await suite.check(
    'a token that was revoked before anybody saw it, and one that nobody gave, are refused',
    async () => {
      const revoked = await robot();
      await curl(
        '--user',
        `robot:${secret}`,
        '--data-urlencode',
        `token=${revoked}`,
        `${issuer}/token/revocation`,
      );
      expectEqual(await status(revoked, `${storage}/`), '401', 'revoked');
      expectEqual(await status('made-up-by-somebody-else', `${storage}/`), '401', 'made up');
    },
  );
}

function serveStorage(suite: Suite, issuer: string, storage: string, secret: string) {
  const secretFile = path.join(suite.folder, 'introspection.secret');
  writeFileSync(secretFile, secret, { mode: 0o600 });
  return serveWeft(
    suite,
    ['storage'],
    {
      issuers: [
        {
          issuer,
          require_audience: false,
          userinfo: true,
          introspection: { client_id: 'weft', secret_file: secretFile },
        },
      ],
      outgoing: { allow_origins: [issuer] },
      storage: {
        instances: [
          {
            site: 'opaque',
            listen: { host: '127.0.0.1', port: Number(new URL(storage).port) },
            url: storage,
            areas: [{ name: 'default', path: '/', root: path.join(suite.folder, 'files') }],
          },
        ],
      },
    },
    [storage],
  );
}

async function startIssuer(
  issuer: string,
  secret: string,
): Promise<{ token: string; stop(): Promise<void> }> {
  const program = path.join(import.meta.dirname, 'opaque-issuer.ts');
  const child = spawn(process.execPath, [program, issuer], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(secret);
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  let said = '';
  const token = await new Promise<string | undefined>((resolve) => {
    child.stdout.on('data', (chunk) => {
      said += String(chunk);
      const [, found] = /^(\S+)\nready$/m.exec(said) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.on('close', () => resolve(undefined));
  });
  if (token === undefined) throw new Error(`oidc-provider did not start:\n${said}`);
  return { token, stop };
}
