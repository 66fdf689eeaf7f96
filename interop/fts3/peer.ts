import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import type { Output } from '../harness/tools.ts';

const jobsSchema = z.array(z.looseObject({ job_id: z.string(), job_state: z.string() }));
const statusSchema = z.looseObject({
  job_id: z.string(),
  job_state: z.string(),
  files: z.array(
    z.looseObject({ file_state: z.string(), reason: z.string().nullable(), filesize: z.number().nullable() }),
  ),
});

/** The `fts3` client of PyPI: its `fts-rest-*` commands and its Python bindings. */
const peer: Peer = {
  name: 'fts3',
  components: ['transfer'],
  async install(tools) {
    // M2Crypto, which it needs, is compiled when pip installs it.
    await tools.needPython(
      'fts3',
      ['fts3', 'setuptools<81'],
      ['python3-venv', 'python3-dev', 'swig', 'libssl-dev', 'gcc'],
    );
  },

  async quick(suite) {
    const fts = await connect(suite);

    await suite.check('fts-rest-whoami names the caller and the VO', async () => {
      const { stdout } = await fts.succeed('fts-rest-whoami');
      expectMatch(stdout, /User DN: \S+[\s\S]*VO: \S+[\s\S]*Delegation id: [0-9a-f]{16}/, 'whoami');
    });

    await suite.check(
      'fts-rest-transfer-status tells the state of the jobs that the datalake made',
      async () => {
        const [job] = jobsSchema.parse(await fts.get('/jobs?state_in=FINISHED&limit=5'));
        if (!job) throw new Error('the datalake made no job that finished');
        const { stdout } = await fts.succeed('fts-rest-transfer-status', job.job_id);
        expectMatch(stdout, new RegExp(`Request ID: ${job.job_id}[\\s\\S]*Status: FINISHED`), 'status');
        const status = await fts.status(job.job_id);
        expectEqual(status.job_state, 'FINISHED', 'job state');
        expectEqual(
          status.files.every((file) => file.file_state === 'FINISHED'),
          true,
          'every file FINISHED',
        );
      },
    );

    await suite.check('fts-rest-transfer-list answers', async () => {
      await fts.succeed('fts-rest-transfer-list');
    });

    await suite.check('a token for another audience is refused in FTS words', async () => {
      const other = await suite.instance.token({
        user: 'admin',
        audience: suite.instance.endpoints.accounting,
      });
      const { code, stdout, stderr } = await fts.run('fts-rest-whoami', { bearer: other });
      expectEqual(code === 0, false, 'refused');
      expectMatch(stdout + stderr, /Unauthorized: .*audience/i, 'message');
    });

    await submitAndWatch(suite, fts);
  },

  async full(suite) {
    const fts = await connect(suite);
    await refusals(suite, fts);
    await bindings(suite, fts);
  },
};

export default peer;

/** The commands with everything that each of them needs to reach the instance. */
interface Fts {
  readonly source: Site;
  readonly destination: Site;
  run(command: string, options: { args?: readonly string[]; bearer?: string }): Promise<Output>;
  succeed(command: string, ...args: readonly string[]): Promise<Output>;
  /** Submits with the tokens of both storages and gives the job's id. */
  submit(...args: readonly string[]): Promise<string>;
  status(jobId: string): Promise<z.output<typeof statusSchema>>;
  /** Waits until the job has ended. */
  ended(jobId: string): Promise<z.output<typeof statusSchema>>;
  get(target: string): Promise<unknown>;
}

interface Site {
  readonly https: string;
  readonly davs: string;
  readonly token: string;
}

/** A folder that no other run has used. */
const FOLDER = `/interop/fts3-${randomBytes(4).toString('hex')}`;

async function connect(suite: Suite): Promise<Fts> {
  const { endpoints, token: tokenOf } = suite.instance;
  const bin = await suite.tools.needPython('fts3', []);
  const token = await tokenOf({ user: 'admin', audience: endpoints.transfer, scope: 'openid profile fts' });
  const site = async (name: string): Promise<Site> => {
    const https = endpoints.sites[name]?.storage;
    if (https === undefined) throw new Error(`the instance has no site ${name}`);
    const scope = 'storage.read:/ storage.create:/ storage.modify:/';
    return {
      https,
      davs: https.replace(/^https:/, 'davs:'),
      token: await tokenOf({ user: 'admin', audience: https, scope }),
    };
  };
  const source = await site('hpc');
  const destination = await site('cloud');

  const run: Fts['run'] = (command, { args = [], bearer = token }) =>
    suite.tools.run(
      path.join(bin, command),
      ['-s', endpoints.transfer, '--fts-access-token', bearer, '--capath', endpoints.ca_dir, ...args],
      { env: { X509_CERT_DIR: endpoints.ca_dir, HOME: suite.folder } },
    );
  const succeed: Fts['succeed'] = async (command, ...args) => {
    const output = await run(command, { args });
    if (output.code !== 0)
      throw new Error(`${command} ended with ${output.code}: ${output.stdout}${output.stderr}`);
    return output;
  };
  const status: Fts['status'] = async (jobId) =>
    statusSchema.parse(JSON.parse((await succeed('fts-rest-transfer-status', '-j', jobId)).stdout));

  return {
    source,
    destination,
    run,
    succeed,
    status,
    async submit(...args) {
      const { stdout } = await succeed(
        'fts-rest-transfer-submit',
        '--src-access-token',
        source.token,
        '--dst-access-token',
        destination.token,
        ...args,
      );
      const id = /Job id: ([0-9a-f-]{36})/.exec(stdout)?.[1];
      if (id === undefined) throw new Error(`no job id in: ${stdout}`);
      return id;
    },
    async ended(jobId) {
      for (const deadline = Date.now() + 180_000; ; ) {
        const answer = await status(jobId);
        if (/^(FINISHED|FINISHEDDIRTY|FAILED|CANCELED)$/.test(answer.job_state)) return answer;
        if (Date.now() > deadline) throw new Error(`job ${jobId} is still ${answer.job_state}`);
      }
    },
    async get(target) {
      const bearer = `Authorization: Bearer ${token}`;
      const { stdout } = await suite.tools.succeed('curl', [
        ...['--silent', '--fail', '--cacert', endpoints.ca, '--header', bearer],
        `${endpoints.transfer}${target}`,
      ]);
      return JSON.parse(stdout);
    },
  };
}

async function upload(suite: Suite, fts: Fts, name: string): Promise<void> {
  const file = path.join(suite.folder, 'upload');
  writeFileSync(file, randomBytes(100_000));
  await suite.tools.succeed('curl', [
    ...['--silent', '--fail', '--cacert', suite.instance.endpoints.ca],
    ...['--header', `Authorization: Bearer ${fts.source.token}`],
    ...['--upload-file', file, `${fts.source.https}${FOLDER}/${name}`],
  ]);
}

async function submitAndWatch(suite: Suite, fts: Fts): Promise<void> {
  await suite.check('fts-rest-transfer-submit copies a file with a token for each storage', async () => {
    await upload(suite, fts, 'file');
    const id = await fts.submit(
      '-C',
      'both',
      `${fts.source.davs}${FOLDER}/file`,
      `${fts.destination.davs}${FOLDER}/copy`,
    );
    const { job_state, files } = await fts.ended(id);
    expectEqual([job_state, files[0]?.reason, files[0]?.filesize], ['FINISHED', null, 100_000], 'outcome');
  });

  await suite.check('fts-rest-transfer-submit -b waits for the end', async () => {
    const source = `${fts.source.davs}${FOLDER}/file`;
    const { code } = await fts.run('fts-rest-transfer-submit', {
      args: [
        ...['--src-access-token', fts.source.token, '--dst-access-token', fts.destination.token],
        ...['-b', '-i', '1', '-o', source, `${fts.destination.davs}${FOLDER}/copy`],
      ],
    });
    expectEqual(code, 0, 'exit code');
  });

  await suite.check('fts-rest-transfer-cancel cancels what has not ended', async () => {
    // Nobody listens there, so the job waits for its next attempt.
    const id = await fts.submit(
      '--retry',
      '5',
      `${fts.source.davs}${FOLDER}/file`,
      `davs://${new URL(fts.destination.https).hostname}:1${FOLDER}/never`,
    );
    await fts.succeed('fts-rest-transfer-cancel', id);
    const { job_state } = await fts.status(id);
    expectMatch(job_state, /^(CANCELED|FAILED)$/, 'job state');
  });
}

async function refusals(suite: Suite, fts: Fts): Promise<void> {
  await suite.check('an existing destination is not overwritten, and the reason says so', async () => {
    await upload(suite, fts, 'file');
    const source = `${fts.source.davs}${FOLDER}/file`;
    const destination = `${fts.destination.davs}${FOLDER}/once`;
    await fts.ended(await fts.submit(source, destination));
    const { job_state, files } = await fts.ended(await fts.submit(source, destination));
    expectEqual(job_state, 'FAILED', 'job state');
    expectMatch(
      files[0]?.reason ?? '',
      /^DESTINATION \[17\] Destination file exists and overwrite is not enabled/,
      'reason',
    );
  });

  await suite.check('a bulk file with good and bad sources ends FINISHEDDIRTY', async () => {
    const entry = (name: string) => ({
      sources: [`${fts.source.davs}${FOLDER}/${name}`],
      destinations: [`${fts.destination.davs}${FOLDER}/bulk-${name}`],
      source_tokens: [fts.source.token],
      destination_tokens: [fts.destination.token],
      metadata: { name },
    });
    const bulk = path.join(suite.folder, 'bulk.json');
    writeFileSync(bulk, JSON.stringify({ files: [entry('file'), entry('missing')] }));
    const { stdout } = await fts.succeed('fts-rest-transfer-submit', '-f', bulk);
    const { job_state, files } = await fts.ended(/Job id: (\S+)/.exec(stdout)?.[1] ?? '');
    expectEqual(
      [job_state, ...files.map(({ file_state }) => file_state)],
      ['FINISHEDDIRTY', 'FINISHED', 'FAILED'],
      'states',
    );
    expectMatch(files[1]?.reason ?? '', /^SOURCE \[2\]/, 'the guilty side is named');
  });

  await suite.check('a wrong checksum fails the transfer', async () => {
    const { job_state, files } = await fts.ended(
      await fts.submit(
        '-C',
        'both',
        `${fts.source.davs}${FOLDER}/file`,
        `${fts.destination.davs}${FOLDER}/wrong`,
        'ADLER32:00000001',
      ),
    );
    expectEqual(job_state, 'FAILED', 'job state');
    expectMatch(
      files[0]?.reason ?? '',
      /Source and user-defined ADLER32 checksum do not match \(\w+ != 00000001\)/,
      'reason',
    );
  });

  await suite.check('an unknown job is not found', async () => {
    const { code, stderr, stdout } = await fts.run('fts-rest-transfer-status', {
      args: ['00000000-0000-0000-0000-000000000001'],
    });
    expectEqual(code === 0, false, 'refused');
    expectMatch(stdout + stderr, /Not found: 00000000-0000-0000-0000-000000000001/, 'message');
  });
}

async function bindings(suite: Suite, fts: Fts): Promise<void> {
  await suite.check(
    'the Python bindings submit, poll several jobs, cancel and understand refusals',
    async () => {
      const { endpoints } = suite.instance;
      const bin = await suite.tools.needPython('fts3', []);
      const token = await suite.instance.token({
        user: 'admin',
        audience: endpoints.transfer,
        scope: 'openid fts',
      });
      const { stdout } = await suite.tools.succeed(
        path.join(bin, 'python3'),
        [
          path.join(import.meta.dirname, 'bindings.py'),
          ...[endpoints.transfer, endpoints.ca_dir, token, fts.source.token, fts.destination.token],
          ...[`${fts.source.davs}${FOLDER}/file`, `${fts.destination.davs}${FOLDER}/`],
        ],
        { env: { HOME: suite.folder } },
      );
      expectMatch(stdout, /"what": "status", "job_state": "FINISHED"/, 'status');
      expectMatch(stdout, /"what": "several", "ids": true/, 'several jobs');
      expectMatch(stdout, /"what": "missing"/, 'missing job');
      expectMatch(stdout, /"what": "forged"/, 'forged token');
    },
  );
}
