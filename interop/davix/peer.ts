import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';

const CONTENT = randomBytes(5_000_000);

/** davix, the client library under gfal2 and FTS, by its commands: put, get, ls, mkdir, mv, rm, and copies between storages. */
const peer: Peer = {
  name: 'davix',
  components: ['storage'],
  install: (tools) => tools.needCommand('davix-get', ['davix']),

  async quick(suite) {
    const { endpoints } = suite.instance;
    const at = (site: string) => storageOf(suite.instance, site);
    const token = await storageToken(suite.instance, at('observatory'), at('cloud'));
    const davs = (url: string) => url.replace(/^https/, 'davs');
    const here = davs(at('observatory'));
    const there = davs(at('cloud'));
    const file = path.join(suite.folder, 'file');
    writeFileSync(file, CONTENT);
    const options = ['--capath', endpoints.ca_dir, '--header', `Authorization: Bearer ${token}`];
    const davix = async (command: string, ...args: string[]) =>
      (await suite.tools.succeed(`davix-${command}`, [...options, ...args])).stdout;
    const transfer = [
      '--header',
      `TransferHeaderAuthorization: Bearer ${token}`,
      '--header',
      'Credential: none',
    ];

    await suite.check('puts a file and gets the same back', async () => {
      await davix('put', file, `${here}/davix/file`);
      await davix('get', `${here}/davix/file`, path.join(suite.folder, 'back'));
      expectEqual(readFileSync(path.join(suite.folder, 'back')).equals(CONTENT), true, 'content');
    });
    await suite.check('lists with type, size and name', async () => {
      await davix('mkdir', `${here}/davix/folder`);
      const listing = await davix('ls', '-l', `${here}/davix`);
      expectMatch(listing, /^-rw-r-----.* 5000000 .*file$/m, 'file');
      expectMatch(listing, /^drwx.* folder$/m, 'collection');
    });
    await suite.check('moves a file', async () => {
      await davix('put', file, `${here}/davix/before`);
      // davix 0.8.4 ends with 255 after every move, at Apache's mod_dav too: only what it writes tells a failure.
      const move = (from: string) =>
        suite.tools.run('davix-mv', [...options, `${here}/davix/${from}`, `${here}/davix/folder/after`]);
      expectEqual((await move('before')).stderr, '', 'davix-mv');
      expectMatch(await davix('ls', `${here}/davix/folder`), /^after$/m, 'where it went');
      expectEqual(/before/.test(await davix('ls', `${here}/davix`)), false, 'where it was');
      expectMatch((await move('before')).stderr, /404/, 'what is not there');
    });
    for (const mode of ['pull', 'push']) {
      await suite.check(`copies to another site by ${mode}`, async () => {
        await davix('cp', '--copy-mode', mode, ...transfer, `${here}/davix/file`, `${there}/davix-${mode}`);
        await davix('get', `${there}/davix-${mode}`, path.join(suite.folder, mode));
        expectEqual(readFileSync(path.join(suite.folder, mode)).equals(CONTENT), true, 'content');
        await davix('rm', `${there}/davix-${mode}`);
      });
    }
    await suite.check('says that a source is missing', async () => {
      const args = [...options, ...transfer, '--copy-mode', 'pull', `${here}/davix/none`, `${there}/none`];
      const output = await suite.tools.run('davix-cp', args);
      expectMatch(output.stderr, /404/, 'error');
    });
    await suite.check('removes a tree', async () => {
      await davix('rm', '-r2', `${here}/davix`);
      const output = await suite.tools.run('davix-ls', [...options, `${here}/davix`]);
      expectMatch(output.stderr, /404/, 'after');
    });
  },
};

export default peer;
