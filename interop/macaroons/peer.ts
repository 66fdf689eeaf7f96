import { randomBytes } from 'node:crypto';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { PeerUnavailable } from '../harness/peer-unavailable.ts';
import { serveStorage } from '../harness/served-storage.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';
import { AUTHORITY, BASE, createCertificates, USER } from '../voms/certificates.ts';

const REQUIREMENTS = ['pymacaroons==0.13.0'];
const NARROW = path.join(import.meta.dirname, 'narrow.py');
const LIBRARY = '/usr/lib/*/libmacaroons.so.0';
/** Two independent implementations, and the second form of one of them. */
const HOLDERS = ['pymacaroons', 'pymacaroons-v2', 'libmacaroons'] as const;

/**
 * Macaroons in the hands of others: pymacaroons and libmacaroons (what XRootD is built on) narrow what our storage makes;
 * gfal2 and davix ask for them and use them, also for third-party copies.
 */
const peer: Peer = {
  name: 'macaroons',
  components: ['storage'],
  async install(tools) {
    await tools.needCommand('gfal-token', ['gfal2-util-scripts', 'gfal2-plugin-http', 'gfal2-plugin-file']);
    await tools.needCommand('davix-http', ['davix']);
    await tools.needPython('macaroons', REQUIREMENTS, ['python3-venv']);
    if (globSync(LIBRARY).length === 0) await tools.needPackages(['libmacaroons0']);
    if (globSync(LIBRARY).length === 0) throw new PeerUnavailable('apt-get install libmacaroons0 failed');
  },

  async quick(suite) {
    const here = storageOf(suite.instance, 'observatory');
    const there = storageOf(suite.instance, 'cloud');
    const token = await storageToken(suite.instance, here, there);
    const bin = await suite.tools.needPython('macaroons', REQUIREMENTS);
    const curl = createCurl(suite);
    const ask = async (url: string, caveats: readonly string[]): Promise<string> => {
      const body = JSON.stringify({ caveats, validity: 'PT10M' });
      const header = 'content-type: application/macaroon-request';
      const { body: answer } = await curl(token, '-X', 'POST', '-H', header, '--data', body, url);
      return JSON.parse(answer).macaroon;
    };
    const narrow = async (holder: string, macaroon: string, ...caveats: string[]): Promise<string> =>
      (
        await suite.tools.succeed(path.join(bin, 'python'), [NARROW, holder, ...caveats], { input: macaroon })
      ).stdout.trim();
    for (const name of ['/macaroons/2010/a', '/macaroons/2011/b'])
      await curl(token, '-X', 'PUT', '--data-binary', `content of ${name}`, `${here}${name}`);

    for (const holder of HOLDERS) {
      await suite.check(`${holder} adds caveats that hold`, async () => {
        const wide = await ask(`${here}/macaroons`, ['activity:DOWNLOAD,LIST,UPLOAD,DELETE']);
        const future = new Date(Date.now() + 600_000).toISOString().replace(/\.\d+Z$/, 'Z');
        // As XRootD and dCache write them.
        const mine = await narrow(holder, wide, 'path:/2010', 'activity:DOWNLOAD', `before:${future}`);
        const statusOf = async (macaroon: string, name: string, ...args: string[]) =>
          (await curl(macaroon, ...args, `${here}/macaroons${name}`)).status;
        expectEqual(await statusOf(mine, '/2010/a'), 200, 'inside');
        expectEqual(await statusOf(mine, '/2011/b'), 403, 'outside');
        expectEqual(await statusOf(mine, '/2010/a', '-X', 'DELETE'), 403, 'another activity');
        expectEqual(
          await statusOf(await narrow(holder, mine, 'before:2020-01-01T00:00:00Z'), '/2010/a'),
          401,
          'ended',
        );
        expectEqual(await statusOf(await narrow(holder, mine, 'ip:192.0.2.1'), '/2010/a'), 401, 'elsewhere');
        expectEqual(
          await statusOf(await narrow(holder, mine, 'name:root'), '/2010/a'),
          401,
          'a reserved key',
        );
        expectEqual(await statusOf(wide, '/2011/b'), 200, 'the wide one still opens the rest');
      });
    }

    const gfal = (bearer: string | undefined) => {
      const env = {
        X509_CERT_DIR: suite.instance.endpoints.ca_dir,
        ...(bearer === undefined ? {} : { BEARER_TOKEN: bearer }),
      };
      return async (command: string, ...args: string[]) =>
        (await suite.tools.succeed(`gfal-${command}`, args, { env })).stdout.trim();
    };
    const authorization = ['-D', `HTTP PLUGIN:HEADERS=Authorization: Bearer ${token}`];
    const davs = (url: string) => url.replace(/^https/, 'davs');
    const file = path.join(suite.folder, 'file');
    const content = randomBytes(2_000_000);
    writeFileSync(file, content);

    await suite.check('gfal2 asks for a macaroon at the path, and works with it', async () => {
      const write = await gfal(undefined)('token', ...authorization, '-w', `${here}/macaroons/gfal`);
      await gfal(write)(
        'copy',
        '-p',
        '-f',
        '-K',
        'ADLER32',
        `file://${file}`,
        `${davs(here)}/macaroons/gfal/x/file`,
      );
      const read = await gfal(undefined)('token', ...authorization, `${here}/macaroons/gfal`);
      const back = path.join(suite.folder, 'back');
      await gfal(read)('copy', '-f', `${davs(here)}/macaroons/gfal/x/file`, `file://${back}`);
      expectEqual(readFileSync(back).equals(content), true, 'content');
      expectMatch(await gfal(read)('ls', `${davs(here)}/macaroons/gfal/x`), /file/, 'ls');
      const env = { X509_CERT_DIR: suite.instance.endpoints.ca_dir, BEARER_TOKEN: read };
      const refused = await suite.tools.run('gfal-rm', [`${davs(here)}/macaroons/gfal/x/file`], { env });
      expectEqual(refused.code === 0, false, 'a macaroon for reading removes nothing');
    });
    await suite.check('gfal2 asks for one at the token endpoint that it discovers', async () => {
      const url = `${here}/macaroons/2010/a`;
      const made = await gfal(undefined)(
        'token',
        ...authorization,
        '--issuer',
        here,
        url,
        'DOWNLOAD',
        'LIST',
      );
      expectEqual((await curl(made, url)).body, 'content of /macaroons/2010/a', 'content');
      expectEqual((await curl(made, `${here}/macaroons/2011/b`)).status, 403, 'another file');
    });
    await suite.check('davix asks for a macaroon, and gets a file with it', async () => {
      const request = ['-X', 'POST', '--data', '{"caveats":["activity:DOWNLOAD"],"validity":"PT5M"}'];
      const ca = ['--capath', suite.instance.endpoints.ca_dir];
      const headers = [
        '-H',
        `Authorization: Bearer ${token}`,
        '-H',
        'Content-Type: application/macaroon-request',
      ];
      const { stdout } = await suite.tools.succeed('davix-http', [
        ...ca,
        ...headers,
        ...request,
        `${here}/macaroons/2010/a`,
      ]);
      const { macaroon } = JSON.parse(stdout);
      const target = path.join(suite.folder, 'davix');
      const bearer = ['-H', `Authorization: Bearer ${macaroon}`];
      await suite.tools.succeed('davix-get', [...ca, ...bearer, `${davs(here)}/macaroons/2010/a`, target]);
      expectEqual(
        existsSync(target) && readFileSync(target, 'utf8'),
        'content of /macaroons/2010/a',
        'content',
      );
    });
    await suite.check('a copy between two storages needs nothing but a macaroon of each', async () => {
      const source = await ask(`${here}/macaroons/2010`, ['activity:DOWNLOAD,LIST']);
      const target = await ask(`${there}/macaroons`, ['activity:UPLOAD,DELETE,LIST,MANAGE']);
      const { body } = await curl(
        target,
        ...['-X', 'COPY', '-H', `Source: ${here}/macaroons/2010/a`],
        ...['-H', `TransferHeaderAuthorization: Bearer ${source}`, `${there}/macaroons/copied`],
      );
      expectMatch(body, /^success: Created$/m, 'the copy');
    });
    for (const storage of [here, there]) await curl(token, '-X', 'DELETE', `${storage}/macaroons/`);
  },

  full: withCertificate,
};

/** What gfal2 does by itself for somebody who has a certificate and no token: it asks for a macaroon before each step. */
async function withCertificate(suite: Suite): Promise<void> {
  const certificates = createCertificates(suite);
  await certificates.make('root', { subject: `${BASE}/CN=Root`, extensions: AUTHORITY });
  await certificates.make('alice', { subject: `${BASE}/CN=Alice`, by: 'root', extensions: USER });
  await certificates.trust('root', '/DC=org/DC=example/*');
  await certificates.publishRevocations('root');
  const storage = await serveStorage(suite, {
    site: 'certificates',
    section: {
      client_certificates: true,
      areas: [{ name: 'default', root: path.join(suite.folder, 'certificates') }],
    },
    settings: {
      client_certificates: {
        authorities_folder: certificates.authorities,
        grants: [{ subject: `${BASE}/CN=Alice`, scopes: ['storage.read:/', 'storage.modify:/'] }],
      },
    },
  });
  try {
    const file = path.join(suite.folder, 'own');
    writeFileSync(file, 'content');
    const identity = ['--cert', certificates.file('alice.pem'), '--key', certificates.file('alice.key')];
    const env = { X509_CERT_DIR: suite.instance.endpoints.ca_dir };
    const url = storage.url.replace(/^https/, 'davs');
    await suite.check(
      'gfal2 with a certificate asks for macaroons by itself, and copies with them',
      async () => {
        const ask = ['-D', 'HTTP PLUGIN:RETRIEVE_BEARER_TOKEN=true', '-vvv'];
        const copied = await suite.tools.succeed(
          'gfal-copy',
          [...identity, ...ask, '-p', '-K', 'ADLER32', `file://${file}`, `${url}/x/file`],
          { env },
        );
        expectMatch(
          copied.stdout + copied.stderr,
          /Using bearer token for HTTPS request authorization/,
          'log of gfal2',
        );
        const { stdout } = await suite.tools.succeed('curl', [
          ...['--silent', '--cacert', suite.instance.endpoints.ca, ...identity],
          `${storage.url}/.weft/api/v1/macaroons`,
        ]);
        expectEqual(JSON.parse(stdout).length, 1, 'grants: all macaroons of one credential stand on one');
      },
    );
  } finally {
    await storage.stop();
  }
}

function createCurl({ tools, instance }: Suite) {
  return async (bearer: string, ...args: string[]): Promise<{ status: number; body: string }> => {
    const { stdout } = await tools.succeed('curl', [
      ...['--silent', '--cacert', instance.endpoints.ca, '--write-out', '\n%{http_code}'],
      ...['--header', `Authorization: Bearer ${bearer}`, ...args],
    ]);
    const end = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) };
  };
}

export default peer;
