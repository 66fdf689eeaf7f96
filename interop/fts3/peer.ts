import path from 'node:path';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';

const listSchema = z.array(z.looseObject({ job_id: z.string(), job_state: z.string() }));
const statusSchema = z.array(
  z.looseObject({
    job_id: z.string(),
    job_state: z.string(),
    files: z.array(z.looseObject({ file_state: z.string() })),
  }),
);

/** The `fts3` client of PyPI: its `fts-rest-*` commands. */
const peer: Peer = {
  name: 'fts3',
  components: ['transfer'],
  async install(tools) {
    await tools.needPython('fts3', ['fts3', 'setuptools<81'], ['python3-venv']);
  },

  async quick(suite) {
    const { endpoints } = suite.instance;
    const bin = await suite.tools.needPython('fts3', []);
    const token = await suite.instance.token({
      user: 'admin',
      audience: endpoints.transfer,
      scope: 'openid profile fts',
    });
    const fts = (command: string, bearer: string, ...args: string[]) =>
      suite.tools.run(
        path.join(bin, command),
        ['-s', endpoints.transfer, '--fts-access-token', bearer, '--capath', endpoints.ca_dir, ...args],
        { env: { X509_CERT_DIR: endpoints.ca_dir, HOME: suite.folder } },
      );

    await suite.check('fts-rest-whoami names the caller and the VO', async () => {
      const { stdout, code, stderr } = await fts('fts-rest-whoami', token);
      expectEqual(code, 0, `exit code (${stderr})`);
      expectMatch(stdout, /User DN: \S+[\s\S]*VO: \S+[\s\S]*Delegation id: [0-9a-f]{16}/, 'whoami');
    });

    await suite.check(
      'fts-rest-transfer-status tells the state of the jobs that the datalake made',
      async () => {
        const response = await suite.tools.succeed('curl', [
          '--silent',
          '--fail',
          '--cacert',
          endpoints.ca,
          '--header',
          `Authorization: Bearer ${token}`,
          `${endpoints.transfer}/jobs?state_in=FINISHED&limit=5`,
        ]);
        const [job] = listSchema.parse(JSON.parse(response.stdout));
        if (!job) throw new Error('the datalake made no job that finished');
        const plain = await fts('fts-rest-transfer-status', token, job.job_id);
        expectEqual(plain.code, 0, `exit code (${plain.stderr})`);
        expectMatch(plain.stdout, new RegExp(`Request ID: ${job.job_id}[\\s\\S]*Status: FINISHED`), 'status');
        const json = await fts('fts-rest-transfer-status', token, '-j', job.job_id);
        const [status] = statusSchema.parse(JSON.parse(json.stdout));
        expectEqual(status?.job_state, 'FINISHED', 'job state');
        expectEqual(
          status?.files.every((file) => file.file_state === 'FINISHED'),
          true,
          'every file FINISHED',
        );
      },
    );

    await suite.check('fts-rest-transfer-list answers', async () => {
      const { code, stderr } = await fts('fts-rest-transfer-list', token);
      expectEqual(code, 0, `exit code (${stderr})`);
    });

    await suite.check('a token for another audience is refused in FTS words', async () => {
      const other = await suite.instance.token({ user: 'admin', audience: endpoints.datalake });
      const { code, stdout, stderr } = await fts('fts-rest-whoami', other);
      expectEqual(code === 0, false, 'refused');
      expectMatch(stdout + stderr, /401|Unauthorized|audience/i, 'message');
    });
  },
};

export default peer;
