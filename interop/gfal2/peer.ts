import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';

const CONTENT = randomBytes(3_000_000);
const PACKAGES = [
  'gfal2',
  'gfal2-plugin-http',
  'gfal2-plugin-file',
  'gfal2-util-scripts',
  'python3-gfal2',
  'python3-gfal2-util',
  'python-is-python3',
];

/** gfal2, what Rucio's gfal dialect and FTS's transfers stand on, by its commands. */
const peer: Peer = {
  name: 'gfal2',
  components: ['storage'],
  install: (tools) => tools.needCommand('gfal-copy', PACKAGES),

  async quick(suite) {
    const { endpoints } = suite.instance;
    const at = (site: string) => storageOf(suite.instance, site);
    const token = await storageToken(suite.instance, at('observatory'), at('cloud'));
    const davs = (site: string) => at(site).replace(/^https/, 'davs');
    const here = `${davs('observatory')}/gfal`;
    const there = `${davs('cloud')}/gfal`;
    const file = path.join(suite.folder, 'file');
    writeFileSync(file, CONTENT);
    const env = { BEARER_TOKEN: token, X509_CERT_DIR: endpoints.ca_dir };
    const gfal = async (command: string, ...args: string[]) =>
      (await suite.tools.succeed(`gfal-${command}`, args, { env })).stdout;

    await suite.check('copies in with a verified checksum, making the folders', async () => {
      await gfal('copy', '-p', '-f', '-K', 'ADLER32', `file://${file}`, `${here}/a/b/file`);
      expectMatch(await gfal('stat', `${here}/a/b/file`), /Size: 3000000\s+regular file/, 'stat');
    });
    await suite.check('asks for checksums that are not stored yet', async () => {
      const { stdout } = await suite.tools.succeed('md5sum', [file]);
      const sum = await gfal('sum', `${here}/a/b/file`, 'MD5');
      expectEqual(sum.trim().split(' ').at(-1), stdout.split(' ')[0], 'md5');
    });
    await suite.check('lists, makes and renames', async () => {
      await gfal('mkdir', '-p', `${here}/x/y`);
      await gfal('rename', `${here}/a/b/file`, `${here}/x/y/file`);
      expectMatch(await gfal('ls', '-l', `${here}/x/y`), /^-rw-r-----.* 3000000 .*file\s*$/m, 'ls');
    });
    for (const mode of ['pull', 'push', 'streamed']) {
      await suite.check(`copies to another site: ${mode}`, async () => {
        const back = path.join(suite.folder, mode);
        await gfal(
          'copy',
          '-p',
          '-f',
          '-K',
          'ADLER32',
          '--copy-mode',
          mode,
          `${here}/x/y/file`,
          `${there}/${mode}`,
        );
        await gfal('copy', '-f', `${there}/${mode}`, `file://${back}`);
        expectEqual(readFileSync(back).equals(CONTENT), true, 'content');
      });
    }
    await suite.check('removes trees', async () => {
      await gfal('rm', '-r', here);
      await gfal('rm', '-r', there);
      const output = await suite.tools.run('gfal-stat', [here], { env });
      expectMatch(output.stderr, /No such file or directory/, 'after');
    });
  },
};

export default peer;
