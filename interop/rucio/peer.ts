import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import type { Output } from '../harness/tools.ts';

const SCOPE = 'drought';
const [HOME, AWAY] = ['OBS-DISK', 'HPC-SCRATCH'];

/** The `rucio` command of PyPI's `rucio-clients`: sees, uploads, replicates by rule and downloads. */
const peer: Peer = {
  name: 'rucio',
  components: ['datalake'],

  async install(tools) {
    await tools.needPython('rucio', ['rucio-clients>=41,<42'], ['python3-venv']);
  },

  async quick(suite) {
    const { endpoints } = suite.instance;
    const rucio = await commandOf(suite);
    const name = `interop-${Date.now()}.bin`;
    const file = path.join(suite.folder, name);
    writeFileSync(file, randomBytes(200_000));
    const did = `${SCOPE}:${name}`;

    await suite.check('ping and whoami', async () => {
      expectMatch((await rucio('ping')).stdout, /^41\./, 'version');
      expectMatch((await rucio('whoami')).stdout, /account\s*: alice/, 'account');
    });
    await suite.check('rse list and rse show', async () => {
      const expected = Object.values(endpoints.sites).map(({ rse }) => rse);
      const listed = (await rucio('rse', 'list')).stdout.trim().split('\n');
      expectEqual(
        expected.filter((rse) => !listed.includes(rse)),
        [],
        'RSEs that are missing',
      );
      expectMatch((await rucio('rse', 'show', HOME)).stdout, /scheme: davs/, 'protocols');
    });
    await suite.check('upload', async () => {
      await rucio('upload', '--rse', HOME, '--scope', SCOPE, file);
      expectMatch(
        (await rucio('did', 'list', `${SCOPE}:interop-*`, '--filter', 'type=all')).stdout,
        new RegExp(did),
        'list',
      );
      expectMatch(
        (await rucio('replica', 'list', 'file', did)).stdout,
        new RegExp(`${HOME}: (davs|https)://.*${name}`),
        'replicas',
      );
    });
    await suite.check('rule add, and the rule is OK within seconds', async () => {
      const id = (await rucio('rule', 'add', did, '--copies', '1', '--rses', AWAY)).stdout.trim();
      expectMatch(id, /^[0-9a-f]{32}$/, 'id');
      expectMatch(await whenSettled(rucio, id), /State:\s+OK/, 'rule');
      expectMatch(
        (await rucio('rule', 'list', '--did', did)).stdout,
        new RegExp(`${id}.*OK\\[1/0/0\\]`),
        'list',
      );
    });
    await suite.check('download, from the copy', async () => {
      const target = path.join(suite.folder, 'download');
      mkdirSync(target);
      await rucio('download', '--rses', AWAY, '--dir', target, did);
      const same = readFileSync(path.join(target, SCOPE, name)).equals(readFileSync(file));
      expectEqual(same, true, 'the same bytes');
    });
    await suite.check('a dataset: add, attach, describe, close', async () => {
      const dataset = `${SCOPE}:ds-${name}`;
      await rucio('did', 'add', '--type', 'dataset', dataset);
      await rucio('did', 'content', 'add', '-to', dataset, did);
      await rucio('did', 'metadata', 'set', '--key', 'run_number', '--value', '5', dataset);
      await rucio('did', 'update', '--close', dataset);
      expectMatch((await rucio('did', 'content', 'list', dataset)).stdout, new RegExp(did), 'content');
      expectMatch((await rucio('did', 'metadata', 'list', dataset)).stdout, /run_number:\s+5/, 'metadata');
      expectMatch(
        (await rucio('replica', 'list', 'dataset', dataset)).stdout,
        new RegExp(`${AWAY}\\s+\\|\\s+1 \\|\\s+1`),
        'replicas',
      );
    });
    await suite.check('refusals arrive as the exceptions that they are', async () => {
      const refusal = async (...args: string[]) => {
        const { code, stdout, stderr } = await rucio.any(...args);
        return `${code === 0 ? 'succeeded' : 'failed'}: ${stdout}${stderr}`;
      };
      expectMatch(
        await refusal('did', 'show', `${SCOPE}:nothing-here`),
        /^failed: .*Data identifier not found/,
        'DataIdentifierNotFound',
      );
      expectMatch(
        await refusal('rule', 'add', did, '--copies', '9', '--rses', '*'),
        /^failed: .*not enough target RSEs/,
        'InsufficientTargetRSEs',
      );
      expectMatch(await refusal('rse', 'show', 'NOWHERE'), /^failed: .*RSE does not exist/, 'RSENotFound');
    });
  },
};

type Rucio = ((...args: string[]) => Promise<Output>) & {
  /** Whatever the exit code. */
  any(...args: string[]): Promise<Output>;
};

/** The command with the configuration that `weft client-config rucio` writes. */
async function commandOf({ instance, tools, folder }: Suite): Promise<Rucio> {
  const bin = await tools.needPython('rucio', ['rucio-clients>=41,<42'], ['python3-venv']);
  const home = path.join(folder, 'rucio');
  mkdirSync(home);
  await instance.weft('client-config', 'rucio', '--out', home);
  const env = {
    RUCIO_CONFIG: path.join(home, 'rucio.cfg'),
    REQUESTS_CA_BUNDLE: instance.endpoints.ca,
    PYTHONWARNINGS: 'ignore',
  };
  const program = path.join(bin, 'rucio');
  const succeed = (...args: string[]) => tools.succeed(program, args, { env });
  return Object.assign(succeed, { any: (...args: string[]) => tools.run(program, args, { env }) });
}

async function whenSettled(rucio: Rucio, id: string): Promise<string> {
  for (let tries = 0; ; tries++) {
    const { stdout } = await rucio('rule', 'show', id);
    if (!/State:\s+REPLICATING/.test(stdout) || tries === 90) return stdout;
    await sleep(1000);
  }
}

export default peer;
