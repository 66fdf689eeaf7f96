import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import { ensureAuthority } from '@weft/kernel/pki';
import { startTestDatabase, type TestDatabase } from '@weft/kernel/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { chooseComponents, startEmbedded } from '../src/commands/up.ts';
import { locateDataFolder, openDataFolder } from '../src/data-folder.ts';
import { serveComponents } from '../src/serve.ts';
import { freeBase, weft } from './run-weft.ts';

let folder: string;
let test: TestDatabase;
let good: Record<string, unknown>;
let database: Record<string, unknown>;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-wrong-'));
  // As root the server's account must get through.
  chmodSync(folder, 0o711);
  test = await startTestDatabase({ migrate: false });
  const authority = await ensureAuthority(path.join(folder, 'pki'));
  await authority.ensureServerCertificate('server', { commonName: 'localhost', hosts: ['localhost'] });
  await authority.ensureServerCertificate('other', { commonName: 'localhost', hosts: ['localhost'] });
  writeFileSync(path.join(folder, 'secret.key'), randomBytes(32), { mode: 0o600 });
  writeFileSync(path.join(folder, 'wrong.secret'), 'wrong');
  writeFileSync(path.join(folder, 'open.key'), randomBytes(32), { mode: 0o644 });
  const { connection, url } = test.target;
  if (connection) {
    writeFileSync(path.join(folder, 'right.secret'), connection.password.reveal());
    const { host, user, database: name } = connection;
    database = {
      socket_folder: host,
      user,
      database: name,
      password_file: path.join(folder, 'right.secret'),
    };
  } else {
    database = { url: String(url) };
  }
  const port = await freeBase();
  good = {
    data_folder: path.join(folder, 'data'),
    database,
    secret_key_file: path.join(folder, 'secret.key'),
    tls: {
      certificate_file: path.join(folder, 'pki', 'server.pem'),
      key_file: path.join(folder, 'pki', 'server.key'),
    },
    log: { level: 'silent' },
    accounting: { listen: { port }, url: `https://localhost:${port}` },
  };
});
afterAll(async () => {
  await test.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The good configuration with some keys replaced, as a file. */
function configuration(change: Record<string, unknown>): string {
  const file = path.join(folder, `${randomBytes(4).toString('hex')}.json`);
  writeFileSync(file, JSON.stringify({ ...good, ...change }));
  return file;
}

async function refusal(work: () => Promise<{ stop(): Promise<void> }>): Promise<ExitError> {
  try {
    await (await work()).stop();
  } catch (error) {
    if (error instanceof ExitError) return error;
    throw error;
  }
  throw new Error('it started');
}

const serve = (change: Record<string, unknown>) => () =>
  serveComponents(['accounting'], { config: configuration(change), role: 'services' });

/** What is wrong, the exit code, and the words that a person needs: the key, and the mend. */
const table: readonly [
  name: string,
  change: () => Record<string, unknown>,
  code: number,
  ...words: RegExp[],
][] = [
  ['an unknown section', () => ({ acounting: {} }), 78, /acounting/, /Known: .*accounting/],
  [
    'an unknown key in a component',
    () => ({ accounting: { ...Object(good.accounting), colour: 1 } }),
    78,
    /accounting: .*colour/,
    /Remove it/,
  ],
  ['an unknown key in a common section', () => ({ log: { colour: 1 } }), 78, /log: .*colour/],
  [
    'a bad type',
    () => ({ accounting: { listen: { port: 'eight' }, url: 'https://localhost:1' } }),
    78,
    /accounting\.listen\.port: .*expected number, received string/,
  ],
  ['a key that is missing', () => ({ secret_key_file: undefined }), 78, /secret_key_file: is missing/],
  [
    'an unknown key beside database.url',
    () => ({ database: { url: 'postgres://h/d', pool: 3 } }),
    78,
    /database: .*pool/,
  ],
  ['a URL of another kind of database', () => ({ database: { url: 'mysql://h/d' } }), 78, /database\.url/],
  [
    'a key file that is not there',
    () => ({ secret_key_file: '/nowhere/secret.key' }),
    78,
    /secret_key_file/,
    /Mend: correct the path/,
  ],
  [
    'a key of the wrong length',
    () => ({ secret_key_file: path.join(folder, 'wrong.secret') }),
    78,
    /5 bytes, not 32/,
    /Mend: head -c 32/,
  ],
  [
    'a key that other accounts can read',
    () => ({ secret_key_file: path.join(folder, 'open.key') }),
    78,
    /secret_key_file: .*open\.key is open to other accounts/,
    /Mend: chown \d+ .* && chmod 600/,
  ],
  [
    'a certificate with the key of another',
    () => ({
      tls: {
        certificate_file: path.join(folder, 'pki', 'server.pem'),
        key_file: path.join(folder, 'pki', 'other.key'),
      },
    }),
    78,
    /tls: .*other\.key is not the key of/,
  ],
  [
    'a database that cannot be reached',
    () => ({ database: { url: 'postgres://weft:geheim@127.0.0.1:9/weft' } }),
    69,
    /cannot be reached \(ECONNREFUSED\)/,
    /database\.url/,
  ],
];

describe('weft serve refuses', () => {
  beforeEach(async () => {
    await sql`drop schema if exists kernel, accounting cascade`.execute(test.database.sql);
  });

  it.each(table)('%s', async (_name, change, code, ...words) => {
    const error = await refusal(serve(change()));
    expect(error.message).not.toMatch(/geheim|\n\s+at /);
    for (const word of words) expect(error.message).toMatch(word);
    expect(error.exitCode).toBe(code);
    const { rows } = await sql<{ schema: string }>`
      select nspname as schema from pg_namespace where nspname in ('kernel', 'accounting')`.execute(
      test.database.sql,
    );
    expect(rows, 'nothing is half-initialised').toEqual([]);
  });

  it('a wrong password', async () => {
    const wrong = { ...database, password_file: path.join(folder, 'wrong.secret') };
    if (!('socket_folder' in database)) return;
    const error = await refusal(serve({ database: wrong }));
    expect(error.message).toMatch(/refuses the user or the password/);
    expect(error.exitCode).toBe(77);
  });

  it('a port that is taken, naming the ways out', async () => {
    const taken = await occupy();
    const port = portOf(taken);
    try {
      const error = await refusal(
        serve({ accounting: { listen: { port }, url: `https://localhost:${port}` } }),
      );
      expect(error.message).toMatch(/--port-base.*listen\.port/);
      expect(error.exitCode).toBe(71);
    } finally {
      taken.close();
    }
  });

  it('a migration that was edited, and a database of a newer version, and changes neither', async () => {
    await (await serveComponents(['accounting'], { config: configuration({}), role: 'services' })).stop();
    await sql`update kernel.migrations set checksum = 'edited' where component = 'accounting' and number = 1`.execute(
      test.database.sql,
    );
    const edited = await refusal(serve({}));
    expect(edited.message).toMatch(
      /accounting\/0001-.* was changed after it had been applied. Put the file back/,
    );
    expect(edited.exitCode).toBe(65);

    await sql`insert into kernel.migrations (component, number, name, checksum)
      values ('accounting', 9999, '9999-later.sql', 'later')`.execute(test.database.sql);
    await sql`delete from kernel.migrations where component = 'accounting' and number = 1`.execute(
      test.database.sql,
    );
    const newer = await refusal(serve({}));
    expect(newer.message).toMatch(/9999-later\.sql.*newer Weft. Run that version/);
    expect(newer.exitCode).toBe(65);
  });

  it('a file that is not YAML, in one line and without a stack', async () => {
    const file = path.join(folder, 'broken.yaml');
    writeFileSync(file, 'accounting: [\n');
    const { code, output } = await weft('serve', 'accounting', '--config', file);
    expect(output).toMatch(/^weft: .*broken\.yaml is not YAML/);
    expect(output).not.toMatch(/\n\s+at /);
    expect(code).toBe(78);
  });
});

describe('weft up refuses', () => {
  it('a port that is taken, before anything is made', async () => {
    const taken = await occupy();
    const data = locateDataFolder(path.join(folder, 'taken'));
    try {
      // Identity stands at the third offset.
      const start = startEmbedded(data, chooseComponents(['identity'], undefined), {
        portBase: portOf(taken) - 3,
        logLevel: 'silent',
      });
      await expect(start).rejects.toMatchObject({
        exitCode: 71,
        message: expect.stringMatching(/--port-base/),
      });
      expect(existsSync(data.root)).toBe(false);
    } finally {
      taken.close();
    }
  });

  it('a data folder that a newer PostgreSQL has written', async () => {
    const data = openDataFolder(path.join(folder, 'newer'));
    mkdirSync(path.join(data.root, 'postgres'), { mode: 0o700 });
    writeFileSync(path.join(data.root, 'postgres', 'PG_VERSION'), '99\n');
    writeFileSync(path.join(data.secrets, 'postgres.secret'), 'its password');
    const start = startEmbedded(data, ['accounting'], { portBase: await freeBase(), logLevel: 'silent' });
    await expect(start).rejects.toMatchObject({ exitCode: 78, message: expect.stringMatching(/99/) });
    expect(existsSync(data.configuration)).toBe(false);
  });

  it.skipIf(process.getuid?.() !== 0 || process.platform !== 'linux')(
    'a disk that is full (needs root: mounts a tmpfs of 64 MB)',
    { timeout: 120_000 },
    async (context) => {
      const data = path.join(folder, 'small');
      mkdirSync(data);
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', data]);
      } catch {
        context.skip('this machine does not let root mount a tmpfs');
      }
      try {
        writeFileSync(path.join(data, 'filler'), Buffer.alloc(20 * 2 ** 20));
        const { code, output } = await weft(
          'up',
          'accounting',
          '--data',
          data,
          '--port-base',
          String(await freeBase()),
        );
        expect(output).toMatch(/^weft: The disk of .*small is full\. Make room/);
        expect(code).toBe(74);
        expect(existsSync(path.join(data, 'postgres'))).toBe(false);
      } finally {
        execFileSync('umount', [data]);
      }
    },
  );
});

async function occupy(): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
