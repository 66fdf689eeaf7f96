import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';

const CONTENT = 'The quick brown fox jumps over the lazy dog\n'.repeat(1000);

/** curl speaks to the storages as scripts do: WebDAV methods, ranges, digests, third-party copy, refusals. */
const peer: Peer = {
  name: 'curl',
  components: ['storage'],
  install: (tools) => tools.needCommand('curl', ['curl', 'ca-certificates']),

  async quick(suite) {
    const { endpoints } = suite.instance;
    const observatory = storageOf(suite.instance, 'observatory');
    const cloud = storageOf(suite.instance, 'cloud');
    const token = await storageToken(suite.instance, observatory, cloud);
    const file = path.join(suite.folder, 'fox.txt');
    writeFileSync(file, CONTENT);

    const curl = async (bearer: string | undefined, ...args: string[]) => {
      const { stdout } = await suite.tools.succeed('curl', [
        '--silent',
        '--show-error',
        '--cacert',
        endpoints.ca,
        ...(bearer === undefined ? [] : ['--header', `Authorization: Bearer ${bearer}`]),
        ...args,
      ]);
      return stdout;
    };
    const status = (bearer: string | undefined, ...args: string[]) =>
      curl(bearer, '--output', '/dev/null', '--write-out', '%{http_code}', ...args);

    await suite.check('MKCOL, PUT and GET give the same bytes back', async () => {
      expectEqual(await status(token, '-X', 'MKCOL', `${observatory}/curl`), '201', 'MKCOL');
      expectEqual(await status(token, '--upload-file', file, `${observatory}/curl/fox.txt`), '201', 'PUT');
      expectEqual(await curl(token, `${observatory}/curl/fox.txt`), CONTENT, 'GET');
    });
    await suite.check('who one is, and what one may do at a path and why', async () => {
      const me = JSON.parse(await curl(token, `${observatory}/.weft/api/v1/whoami?path=/curl/fox.txt`));
      expectEqual(me.path.stands, 'file', 'what stands there');
      expectEqual(me.path.actions.read.allowed, true, 'may read it');
      expectMatch(me.path.actions.read.why, /^scope storage\.read:/, 'why');
      const others = await curl(token, `${observatory}/.weft/api/v1/transfers`);
      expectEqual(others.trim(), '[]', 'copies that run');
      expectEqual(await status(undefined, `${observatory}/.weft/api/v1/whoami`), '401', 'without a token');
    });
    await suite.check('ranges, one and several', async () => {
      expectEqual(await curl(token, '--range', '4-8', `${observatory}/curl/fox.txt`), 'quick', 'one range');
      const several = await curl(token, '--include', '--range', '4-8,10-14', `${observatory}/curl/fox.txt`);
      expectMatch(
        several,
        /^HTTP\/1\.1 206[\s\S]*multipart\/byteranges[\s\S]*quick[\s\S]*brown/,
        'two ranges',
      );
    });
    await suite.check('HEAD tells size and adler32', async () => {
      const head = await curl(
        token,
        '--head',
        '--header',
        'Want-Digest: adler32',
        `${observatory}/curl/fox.txt`,
      );
      expectMatch(head, new RegExp(`content-length: ${CONTENT.length}`, 'i'), 'size');
      expectMatch(head, /^digest: adler32=[0-9a-f]{8}\r?$/im, 'digest');
    });
    await suite.check('PROPFIND lists the collection', async () => {
      const listing = await curl(token, '-X', 'PROPFIND', '--header', 'Depth: 1', `${observatory}/curl`);
      expectMatch(listing, /multistatus[\s\S]*\/curl\/fox\.txt/i, 'multistatus');
    });
    await suite.check('COPY pulls from another site and reports progress', async () => {
      const answer = await curl(
        token,
        '--include',
        '-X',
        'COPY',
        '--header',
        `Source: ${observatory}/curl/fox.txt`,
        '--header',
        `TransferHeaderAuthorization: Bearer ${token}`,
        '--header',
        'Credential: none',
        '--header',
        'RequireChecksumVerification: true',
        `${cloud}/curl-copy.txt`,
      );
      expectMatch(answer, /^HTTP\/1\.1 20[12][\s\S]*Perf Marker[\s\S]*\nsuccess/im, 'markers and result');
      expectEqual(await curl(token, `${cloud}/curl-copy.txt`), CONTENT, 'copy');
    });
    await suite.check('refusals: no token, other audience, no scope for the path', async () => {
      const other = await suite.instance.token({ user: 'admin', audience: endpoints.transfer });
      const narrow = await suite.instance.token({
        user: 'admin',
        audience: observatory,
        scope: 'storage.read:/elsewhere',
      });
      const url = `${observatory}/curl/fox.txt`;
      expectEqual(await status(undefined, url), '401', 'no token');
      expectEqual(await status('nonsense', url), '401', 'nonsense');
      expectEqual(await status(other, url), '401', 'other audience');
      expectEqual(await status(narrow, url), '403', 'no scope');
      expectMatch(await curl(other, '--head', url), /www-authenticate: bearer.*invalid_token/i, 'RFC 6750');
    });
    await suite.check('DELETE removes; the rest is 404', async () => {
      expectEqual(await status(token, '-X', 'DELETE', `${observatory}/curl/fox.txt`), '204', 'DELETE file');
      expectEqual(await status(token, `${observatory}/curl/fox.txt`), '404', 'GET after DELETE');
      expectEqual(await status(token, '-X', 'DELETE', `${cloud}/curl-copy.txt`), '204', 'DELETE copy');
      expectEqual(await status(token, '-X', 'DELETE', `${observatory}/curl`), '204', 'DELETE collection');
    });
  },
};

export default peer;
