import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import path from 'node:path';
import { connect } from 'node:tls';
import { whyNoAccounts } from '../../packages/storage/test/local-accounts.ts';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { startMultiUserStorage } from './multi-user-storage.ts';

const SUITES = ['basic', 'copymove', 'props', 'locks', 'http'];
const TESTS = 104;

/** litmus, the conformance suite of WebDAV, with an app password: it knows only Basic. In both modes of the storage. */
const peer: Peer = {
  name: 'litmus',
  components: ['storage'],
  install: (tools) => tools.needCommand('litmus', ['litmus']),

  async quick(suite) {
    const storage = suite.instance.endpoints.sites.observatory?.storage;
    if (storage === undefined) throw new Error('no site observatory');
    const token = await suite.instance.token({
      user: 'admin',
      audience: storage,
      scope: 'storage.read:/ storage.create:/ storage.modify:/',
    });
    await runLitmus(suite, 'single-user', storage, token);
    const reason = whyNoAccounts();
    if (reason !== undefined) return suite.skip('multi-user', reason);
    const users = await startMultiUserStorage(suite, token);
    try {
      await runLitmus(suite, 'multi-user', users.url, token, async () => {
        const owners = readdirSync(users.home, { recursive: true, encoding: 'utf8' }).map(
          (name) => statSync(path.join(users.home, name)).uid,
        );
        expectEqual([...new Set(owners)], [users.uid], 'owners of what litmus made');
      });
    } finally {
      await users.stop();
    }
  },
};

/** `look` sees what litmus has left, before it is removed. */
async function runLitmus(
  suite: Suite,
  mode: string,
  storage: string,
  token: string,
  look?: () => Promise<void>,
): Promise<void> {
  const { ca } = suite.instance.endpoints;
  const curl = (...args: string[]) =>
    suite.tools.succeed('curl', [
      ...['--silent', '--fail', '--cacert', ca, '--header', `Authorization: Bearer ${token}`],
      ...args,
    ]);
  const made = await curl('--data', '{"label":"litmus"}', `${storage}/.weft/api/v1/app-passwords`);
  const { id, password } = JSON.parse(made.stdout);
  await curl('-X', 'MKCOL', `${storage}/litmus-run`);
  // Over TLS litmus skips a test; the bridge takes the TLS off for it.
  const bridge = await bridgeTo(storage, readFileSync(ca, 'utf8'));
  let passed = 0;
  try {
    for (const name of SUITES) {
      await suite.check(`${mode}, ${name}: every test passes`, async () => {
        const { stdout } = await suite.tools.run(
          'litmus',
          ['-k', `http://127.0.0.1:${bridge.port}/litmus-run/`, 'admin', password],
          { env: { TESTS: name }, cwd: suite.folder },
        );
        expectMatch(stdout, / 0 failed\. 100\.0%/, name);
        passed += Number(/(\d+) passed/.exec(stdout)?.[1]);
      });
    }
    await suite.check(`${mode}: ${TESTS} tests ran`, async () => expectEqual(passed, TESTS, 'tests'));
    if (look) await suite.check(`${mode}: everything belongs to the local user`, look);
  } finally {
    bridge.server.close();
    await curl('-X', 'DELETE', `${storage}/litmus-run/`);
    await curl('-X', 'DELETE', `${storage}/.weft/api/v1/app-passwords/${id}`);
  }
}

async function bridgeTo(url: string, ca: string): Promise<{ server: Server; port: number }> {
  const { hostname: host, port } = new URL(url);
  const server = createServer((plain) => {
    const secure = connect({ host, port: Number(port), ca });
    plain.pipe(secure).pipe(plain);
    plain.on('error', () => secure.destroy());
    secure.on('error', () => plain.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  return { server, port: address.port };
}

export default peer;
