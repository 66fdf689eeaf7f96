import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { connect } from 'node:tls';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';

const SUITES = ['basic', 'copymove', 'props', 'locks', 'http'];
const TESTS = 104;

/** litmus, the conformance suite of WebDAV, with an app password: it knows only Basic. */
const peer: Peer = {
  name: 'litmus',
  components: ['storage'],
  install: (tools) => tools.needCommand('litmus', ['litmus']),

  async quick(suite) {
    const { endpoints } = suite.instance;
    const storage = endpoints.sites.observatory?.storage;
    if (storage === undefined) throw new Error('no site observatory');
    const token = await suite.instance.token({
      user: 'admin',
      audience: storage,
      scope: 'storage.read:/ storage.create:/ storage.modify:/',
    });
    const curl = (...args: string[]) =>
      suite.tools.succeed('curl', [
        '--silent',
        '--cacert',
        endpoints.ca,
        '--header',
        `Authorization: Bearer ${token}`,
        ...args,
      ]);
    const made = await curl('--data', '{"label":"litmus"}', `${storage}/.weft/api/v1/app-passwords`);
    const { id, password } = JSON.parse(made.stdout);
    await curl('-X', 'MKCOL', `${storage}/litmus-run`);
    // Over TLS litmus skips a test; the bridge takes the TLS off for it.
    const bridge = await bridgeTo(storage, readFileSync(endpoints.ca, 'utf8'));
    let passed = 0;
    try {
      for (const name of SUITES) {
        await suite.check(`${name}: every test passes`, async () => {
          const { stdout } = await suite.tools.run(
            'litmus',
            ['-k', `http://127.0.0.1:${bridge.port}/litmus-run/`, 'admin', password],
            { env: { TESTS: name }, cwd: suite.folder },
          );
          expectMatch(stdout, / 0 failed\. 100\.0%/, name);
          passed += Number(/(\d+) passed/.exec(stdout)?.[1]);
        });
      }
      await suite.check(`${TESTS} tests ran`, async () => expectEqual(passed, TESTS, 'tests'));
    } finally {
      bridge.server.close();
      await curl('-X', 'DELETE', `${storage}/litmus-run/`);
      await curl('-X', 'DELETE', `${storage}/.weft/api/v1/app-passwords/${id}`);
    }
  },
};

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
