import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeAppPassword } from '../harness/app-password.ts';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';
import { bridgeTo } from '../harness/plain-bridge.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';

const CONTENT = randomBytes(300_000);

/** cadaver, the WebDAV shell, with an app password: a session of a person who looks around, locks and edits. */
const peer: Peer = {
  name: 'cadaver',
  components: ['storage'],
  install: (tools) => tools.needCommand('cadaver', ['cadaver']),

  async quick(suite) {
    const { instance, folder } = suite;
    const storage = storageOf(instance, 'observatory');
    const access = await makeAppPassword(suite, storage, await storageToken(instance, storage), 'cadaver');
    // cadaver asks on the terminal whether to trust an authority that the system does not know.
    const bridge = await bridgeTo(storage, readFileSync(instance.endpoints.ca, 'utf8'));
    writeFileSync(
      path.join(folder, '.netrc'),
      `machine 127.0.0.1 login admin password ${access.password}\n`,
      { mode: 0o600 },
    );
    writeFileSync(path.join(folder, 'file'), CONTENT);
    const session = async (...lines: string[]) => {
      const { stdout } = await suite.tools.succeed('cadaver', [`${bridge.url}/`], {
        cwd: folder,
        env: { HOME: folder },
        input: `${[...lines, 'quit'].join('\n')}\n`,
      });
      return stdout;
    };

    try {
      await suite.check('makes a collection, puts files, lists and gets them', async () => {
        const told = await session('mkcol cadaver', 'cd cadaver', 'put file', 'ls', 'get file back');
        expectMatch(told, /Creating `cadaver':.*succeeded/, 'mkcol');
        expectMatch(told, /Uploading file to `\/cadaver\/file':[\s\S]*?succeeded/, 'put');
        expectMatch(told, /^\s+file\s+300000\s/m, 'ls');
        expectEqual(readFileSync(path.join(folder, 'back')).equals(CONTENT), true, 'content');
      });
      await suite.check('sets and reads a property', async () => {
        const told = await session('cd cadaver', 'propset file colour green', 'propget file colour');
        expectMatch(told, /Value of colour is: green/, 'propget');
      });
      await suite.check('locks, writes under its lock, discovers and unlocks', async () => {
        const told = await session('cd cadaver', 'lock file', 'put file', 'discover file', 'unlock file');
        expectMatch(told, /Locking `file':.*succeeded/, 'lock');
        expectMatch(told, /Uploading[\s\S]*?succeeded/, 'put under the lock');
        expectMatch(told, /Lock token <urn:uuid:|Lock token <opaquelocktoken:/, 'discover');
        expectMatch(told, /Unlocking `file':.*succeeded/, 'unlock');
      });
      await suite.check('copies, moves and deletes', async () => {
        const told = await session(
          'cd cadaver',
          'copy file copy',
          'move copy moved',
          'ls',
          'delete moved',
          'cd ..',
          'rmcol cadaver',
          'cd cadaver',
        );
        expectMatch(told, /Copying `\/cadaver\/file' to `\/cadaver\/copy':.*succeeded/, 'copy');
        expectMatch(told, /Moving `\/cadaver\/copy' to `\/cadaver\/moved':.*succeeded/, 'move');
        expectMatch(told, /^\s+moved\s+300000\s/m, 'ls');
        expectMatch(told, /Deleting `moved':.*succeeded/, 'delete');
        expectMatch(told, /Deleting collection `cadaver':.*succeeded/, 'rmcol');
        expectMatch(told, /404/, 'the collection afterwards');
      });
    } finally {
      bridge.close();
      await access.revoke();
    }
  },
};

export default peer;
