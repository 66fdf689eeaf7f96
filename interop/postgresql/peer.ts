import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { type DebianServer, startDebianServer } from './server.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');
/** The oldest PostgreSQL that Weft works on; Debian 12 has it. */
const BIN = '/usr/lib/postgresql/15/bin';
/** What the kernel promises of any server. The rest is about the embedded one, or takes longer. */
const QUICK = ['database', 'work', 'schedule', 'events', 'event-delivery'];
const FULL = ['backup', 'kill'];

/** Debian's PostgreSQL 15 in the place of the embedded 18: the same tests, and a backup that moves down three versions. */
const peer: Peer = {
  name: 'postgresql',
  components: ['kernel'],
  install: (tools) => tools.needCommand(path.join(BIN, 'postgres'), ['postgresql-15']),

  async quick(suite) {
    await onServer(suite, async (server) => {
      await suite.check('it is PostgreSQL 15', async () => {
        expectMatch(await server.ask('postgres', 'select version()'), /^PostgreSQL 15\./, 'version()');
      });
      await suite.check('a backup of the running instance restores into it, row for row', () =>
        restoreInto(suite, server),
      );
      await kernelTests(
        suite,
        server,
        QUICK.map((name) => `packages/kernel/test/${name}.test.ts`),
      );
    });
  },

  async full(suite) {
    await onServer(suite, async (server) => {
      for (const name of FULL) await kernelTests(suite, server, [`packages/kernel/test/${name}.test.ts`]);
      for (const component of ['identity', 'datalake', 'transfer', 'orchestrator', 'accounting'])
        await kernelTests(suite, server, [`packages/${component}/test`]);
    });
  },
};

async function onServer(suite: Suite, work: (server: DebianServer) => Promise<void>): Promise<void> {
  const server = await startDebianServer(suite.tools, BIN);
  try {
    await work(server);
  } finally {
    await server.stop();
  }
}

async function kernelTests(suite: Suite, server: DebianServer, filters: readonly string[]): Promise<void> {
  await suite.check(`${filters.join(' ')} passes on it`, async () => {
    await suite.tools.succeed(
      process.execPath,
      [path.join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...filters],
      { cwd: ROOT, env: { WEFT_TEST_DATABASE_URL: server.url, NO_COLOR: '1' }, timeoutSeconds: 600 },
    );
  });
}

async function restoreInto(suite: Suite, server: DebianServer): Promise<void> {
  const { instance, tools, folder } = suite;
  const file = path.join(folder, 'weft.backup');
  const written = JSON.parse(await instance.weft('backup', file, '--json'));
  await server.ask('postgres', 'create database restored');
  const url = new URL(server.url);
  url.pathname = '/restored';
  const configuration = path.join(folder, 'weft.yaml');
  const settings = {
    data_folder: folder,
    database: { url: url.toString() },
    secret_key_file: path.join(folder, 'not-needed.key'),
    tls: { certificate_file: 'not-needed.pem', key_file: 'not-needed.key' },
  };
  // JSON is YAML.
  writeFileSync(configuration, JSON.stringify(settings), { mode: 0o600 });
  const weft = path.join(ROOT, 'weft');
  const { stdout } = await tools.succeed(weft, ['restore', file, '--config', configuration, '--json'], {
    timeoutSeconds: 300,
  });
  const restored = JSON.parse(stdout);
  expectEqual(restored.tables, written.tables, 'tables');
  expectEqual(restored.rows, written.rows, 'rows');
  const replicas = Number(await server.ask('restored', 'select count(*) from datalake.replicas'));
  expectEqual(replicas > 0, true, 'replicas are there');
  const next = await server.ask(
    'restored',
    `select nextval('kernel.outbox_id_seq') > max(id) from kernel.outbox`,
  );
  expectEqual(next, 't', 'sequences go on after the last row');
}

export default peer;
