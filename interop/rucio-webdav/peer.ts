import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';

const REQUIREMENTS = ['rucio-clients>=41,<42'];
const DIALECT = path.join(import.meta.dirname, 'dialect.py');

/** What each step of `dialect.py` must have told. */
const EXPECTED: readonly (readonly [step: string, value: unknown])[] = [
  ['connect', 'done'],
  ['exists before', false],
  ['exists after put', true],
  ['stat', 12_000_000],
  ['exists under its name', [false, true]],
  ['the same bytes', true],
  ['ls', ['file']],
  ['rename into folders that were not there', true],
  ['space', true],
  ['get of nothing', 'SourceNotFound'],
  ['rename of nothing', 'SourceNotFound'],
  ['delete of nothing', 'SourceNotFound'],
  ['exists after delete', false],
  ['connect with a bad token', 'ServiceUnavailable'],
];

/** `rucio.rse.protocols.webdav.Default` of PyPI's `rucio-clients`: the class by which Rucio itself speaks to a WebDAV storage. */
const peer: Peer = {
  name: 'rucio-webdav',
  components: ['storage'],

  async install(tools) {
    await tools.needPython('rucio', REQUIREMENTS, ['python3-venv']);
  },

  async quick(suite) {
    const storage = storageOf(suite.instance, 'observatory');
    const token = await storageToken(suite.instance, storage);
    const bin = await suite.tools.needPython('rucio', REQUIREMENTS);
    writeFileSync(path.join(suite.folder, 'source'), randomBytes(12_000_000));
    const config = path.join(suite.folder, 'rucio.cfg');
    writeFileSync(
      config,
      '[client]\nrucio_host = https://localhost\nauth_host = https://localhost\nauth_type = oidc\naccount = nobody\n',
    );
    const prefix = `${storage}/rucio-webdav-interop/`;
    const curl = (method: string) =>
      suite.tools.succeed('curl', [
        '--silent',
        '--cacert',
        suite.instance.endpoints.ca,
        '--header',
        `Authorization: Bearer ${token}`,
        '--request',
        method,
        prefix,
      ]);
    await curl('MKCOL');
    const { stdout, stderr, code } = await suite.tools.run(
      path.join(bin, 'python'),
      [DIALECT, prefix, token, suite.folder],
      { env: { RUCIO_CONFIG: config, PYTHONWARNINGS: 'ignore' } },
    );
    const told = new Map(
      stdout
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line): [string, unknown] => {
          const { step, value } = JSON.parse(line);
          return [step, value];
        }),
    );
    for (const [step, value] of EXPECTED)
      await suite.check(step, async () => expectEqual(told.get(step), value, step));
    await suite.check('runs to its end', async () =>
      expectEqual([code, stderr.slice(-500)], [0, ''], 'exit'),
    );
    await curl('DELETE');
  },
};

export default peer;
