import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Suite } from '../harness/peer.ts';
import { type Chromium, textOf } from './chromium.ts';
import { linkAtCloud } from './embedded-default.ts';
import { serve, tlsOf } from './linking-service.ts';

/** The local account that the embedded default links alice with. */
const ACCOUNT = 'alice01';

/**
 * A storage of the site that serves people as their local accounts asks account linking who they are: what alice writes is
 * her account's, and from the moment she unlinks it she is nobody there.
 */
export async function storageKnowsLinks(suite: Suite, chromium: Chromium): Promise<void> {
  const { tools, instance } = suite;
  const made = await makeAccount(suite);
  const page = await linkAtCloud(suite, chromium);
  const area = path.join(suite.folder, 'area');
  const url = `https://localhost:${Number(new URL(instance.endpoints.issuer).port) + 304}`;
  const storage = await serve(suite, 'storage', writeConfiguration(suite, url, area), url);
  const audience = instance.endpoints.sites.cloud?.storage ?? '';
  const scope = 'storage.read:/ storage.create:/rucio/drought storage.modify:/rucio/drought';
  const token = await instance.token({ audience, scope });
  const ask = async (file: string, ...more: string[]) => {
    const { stdout } = await tools.succeed('curl', [
      ...[
        '--silent',
        '--cacert',
        instance.endpoints.ca,
        '--output',
        '/dev/null',
        '--write-out',
        '%{http_code}',
      ],
      ...['--header', `Authorization: Bearer ${token}`, ...more, `${url}${file}`],
    ]);
    return stdout;
  };
  try {
    await suite.check('a storage in multi-user mode serves her as her local account', async () => {
      expectEqual(await ask('/rucio/drought/a', '--upload-file', instance.endpoints.ca), '201', 'upload');
      const { stdout } = await tools.succeed('id', ['-u', ACCOUNT]);
      expectEqual(statSync(path.join(area, 'rucio', 'drought', 'a')).uid, Number(stdout), 'owner');
    });
    await suite.check(
      'and refuses her when she has unlinked, long before it would ask again by itself (5 minutes)',
      async () => {
        await page.getByRole('button', { name: /^Unlink/ }).click();
        expectMatch(await textOf(page), /Unlinked\./, 'list');
        const deadline = Date.now() + 30_000;
        let status = await ask('/rucio/drought/a');
        while (status === '200' && Date.now() < deadline) status = await ask('/rucio/drought/a');
        expectEqual(status, '403', 'download');
      },
    );
  } finally {
    await storage.stop();
    await page.context().close();
    if (made) await tools.succeed('userdel', [ACCOUNT]);
  }
}

/** Answers whether there was none before. */
async function makeAccount({ tools }: Suite): Promise<boolean> {
  if ((await tools.run('id', [ACCOUNT])).code === 0) return false;
  await tools.succeed('useradd', ['--no-create-home', '--no-log-init', ACCOUNT]);
  return true;
}

function writeConfiguration(suite: Suite, url: string, area: string): string {
  const { endpoints, data } = suite.instance;
  const { certificate, key } = tlsOf(suite);
  const folder = path.join(suite.folder, 'storage');
  for (const each of [folder, area, path.join(area, 'rucio'), path.join(area, 'rucio', 'drought')]) {
    mkdirSync(each);
    chmodSync(each, each === folder ? 0o711 : 0o1777);
  }
  chmodSync(suite.folder, 0o711);
  const secretKey = path.join(suite.folder, 'storage.key');
  writeFileSync(secretKey, crypto.getRandomValues(new Uint8Array(32)), { mode: 0o600 });
  const configuration = path.join(suite.folder, 'storage.json');
  const settings = {
    data_folder: folder,
    database: 'embedded',
    issuers: [{ issuer: endpoints.issuer }],
    credentials: {
      storage: {
        issuer: endpoints.issuer,
        client_id: 'storage',
        client_secret_file: path.join(data, 'secrets', 'storage.secret'),
      },
    },
    secret_key_file: secretKey,
    tls: { certificate_file: certificate, key_file: key },
    outgoing: {
      allow_origins: [endpoints.issuer, endpoints.identity],
      certificate_authorities: [endpoints.ca],
    },
    storage: {
      instances: [
        {
          site: 'cloud',
          listen: { host: '127.0.0.1', port: Number(new URL(url).port) },
          url,
          audiences: [endpoints.sites.cloud?.storage],
          areas: [{ name: 'default', path: '/', root: area }],
          identity: { url: endpoints.identity },
          multi_user: { mapping: [{ method: 'alise' }] },
        },
      ],
    },
  };
  writeFileSync(configuration, JSON.stringify(settings), { mode: 0o600 });
  return configuration;
}
