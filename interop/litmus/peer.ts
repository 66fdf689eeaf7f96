import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { whyNoUsers } from '../../packages/storage/test/local-accounts.ts';
import { makeAppPassword } from '../harness/app-password.ts';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { bridgeTo } from '../harness/plain-bridge.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';
import { startMultiUserStorage } from './multi-user-storage.ts';

const SUITES = ['basic', 'copymove', 'props', 'locks', 'http'];
const TESTS = 104;

/** litmus, the conformance suite of WebDAV, with an app password: it knows only Basic. In both modes of the storage. */
const peer: Peer = {
  name: 'litmus',
  components: ['storage'],
  install: (tools) => tools.needCommand('litmus', ['litmus']),

  async quick(suite) {
    const storage = storageOf(suite.instance, 'observatory');
    const token = await storageToken(suite.instance, storage);
    await runLitmus(suite, 'single-user', storage, token);
    const reason = whyNoUsers();
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
  const access = await makeAppPassword(suite, storage, token, 'litmus');
  await access.curl('-X', 'MKCOL', `${storage}/litmus-run`);
  // Over TLS litmus skips a test.
  const bridge = await bridgeTo(storage, readFileSync(suite.instance.endpoints.ca, 'utf8'));
  let passed = 0;
  try {
    for (const name of SUITES) {
      await suite.check(`${mode}, ${name}: every test passes`, async () => {
        const { stdout } = await suite.tools.run(
          'litmus',
          ['-k', `${bridge.url}/litmus-run/`, 'admin', access.password],
          { env: { TESTS: name }, cwd: suite.folder },
        );
        expectMatch(stdout, / 0 failed\. 100\.0%/, name);
        passed += Number(/(\d+) passed/.exec(stdout)?.[1]);
      });
    }
    await suite.check(`${mode}: ${TESTS} tests ran`, async () => expectEqual(passed, TESTS, 'tests'));
    if (look) await suite.check(`${mode}: everything belongs to the local user`, look);
  } finally {
    bridge.close();
    await access.curl('-X', 'DELETE', `${storage}/litmus-run/`);
    await access.revoke();
  }
}

export default peer;
