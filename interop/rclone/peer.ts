import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';

const FILES = 20;

/** rclone mounts a storage as a WebDAV remote with a bearer token: copy, check, list, move, delete. */
const peer: Peer = {
  name: 'rclone',
  components: ['storage'],
  install: (tools) => tools.needCommand('rclone', ['rclone']),

  async quick(suite) {
    const { endpoints } = suite.instance;
    const storage = storageOf(suite.instance, 'observatory');
    const token = await storageToken(suite.instance, storage);
    const configuration = path.join(suite.folder, 'rclone.conf');
    writeFileSync(
      configuration,
      `[weft]\ntype = webdav\nurl = ${storage}\nvendor = other\nbearer_token = ${token}\n`,
      { mode: 0o600 },
    );
    const source = path.join(suite.folder, 'source');
    mkdirSync(path.join(source, 'deep', 'er'), { recursive: true });
    for (let index = 0; index < FILES; index++) {
      const folder = index % 3 === 0 ? 'deep/er' : '.';
      writeFileSync(
        path.join(source, folder, `file ${index} ü%+.txt`),
        `content ${index}\n`.repeat(index * 100 + 1),
      );
    }
    const rclone = async (...args: string[]) =>
      (
        await suite.tools.succeed('rclone', [
          '--config',
          configuration,
          '--ca-cert',
          endpoints.ca,
          '--retries',
          '1',
          ...args,
        ])
      ).stdout;

    await suite.check(`copies ${FILES} files with difficult names and finds no difference`, async () => {
      await rclone('copy', source, 'weft:rclone');
      await rclone('check', '--download', source, 'weft:rclone');
    });
    await suite.check('lists them with their sizes', async () => {
      const listing = await rclone('lsf', '--recursive', '--files-only', '--format', 's', 'weft:rclone');
      expectEqual(listing.trim().split('\n').length, FILES, 'files');
    });
    await suite.check('reads one back and moves another', async () => {
      const back = path.join(suite.folder, 'back');
      await rclone('copy', 'weft:rclone/deep/er/file 3 ü%+.txt', back);
      expectEqual(
        readFileSync(path.join(back, 'file 3 ü%+.txt'), 'utf8'),
        readFileSync(path.join(source, 'deep/er/file 3 ü%+.txt'), 'utf8'),
        'content',
      );
      await rclone('moveto', 'weft:rclone/file 1 ü%+.txt', 'weft:rclone/moved.txt');
      expectMatch(await rclone('lsf', 'weft:rclone'), /^moved\.txt$/m, 'listing after the move');
    });
    await suite.check('syncs away what the source no longer has, and purges', async () => {
      await rclone('sync', source, 'weft:rclone');
      expectEqual(/moved\.txt/.test(await rclone('lsf', 'weft:rclone')), false, 'moved.txt is gone');
      await rclone('purge', 'weft:rclone');
    });
  },
};

export default peer;
