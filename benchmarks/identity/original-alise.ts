import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

/** The original, with its own database in a folder of its own. */
export interface OriginalAlise {
  readonly port: number;
  /** Of the identities `community:…`. */
  readonly communityIssuer: string;
  stop(): Promise<void>;
}

/** Of ours as well (measure-server.ts). */
const API_KEY = 'abcdefghijklmnopqrstuvwxyzabcdef';

export const PROVIDERS = { hpc: 'https://idp.hpc.bench', community: 'https://community.bench' };

/**
 * Writes an ALISE database as ALISE itself would: for each person an identity `hpc:<n>-0` of the site and one
 * `community:<n>-1`, held together by the session in which they were linked. Answers the file.
 */
export function writeAliseDatabase(folder: string, people: number): string {
  const file = path.join(folder, 'alise_hpc.db');
  const database = new DatabaseSync(file);
  for (const table of ['int_user', 'ext_user'])
    database.exec(
      `create table ${table} (session_id text, identity text, provider text, jsonstr json, last_seen integer)`,
    );
  database.exec('create table sites (name text, comment text)');
  database.exec('create table apikeys (ownername text, owneremail text, sub text, iss text, apikey text)');
  database.exec('begin');
  const internal = database.prepare('insert into int_user values (?, ?, ?, ?, 1774452086)');
  const external = database.prepare('insert into ext_user values (?, ?, ?, ?, 1774452093)');
  for (let n = 1; n <= people; n++) {
    const details = { generated_username: `user${n}`, display_name: `Person ${n}` };
    internal.run(`hpc:${n}-0`, `hpc:${n}-0`, 'hpc', JSON.stringify({ ...details, sub: `${n}-0` }));
    external.run(
      `hpc:${n}-0`,
      `community:${n}-1`,
      'community',
      JSON.stringify({ ...details, sub: `${n}-1` }),
    );
  }
  database
    .prepare('insert into apikeys values (?, ?, ?, ?, ?)')
    .run('bench', 'bench@example.org', 'bench', PROVIDERS.hpc, API_KEY);
  database.exec('commit');
  database.close();
  return file;
}

/** Starts ALISE in its uvicorn, one worker as its unit file says, logging warnings only. */
export async function startOriginalAlise(folder: string, bin: string, port: number): Promise<OriginalAlise> {
  // It asks every provider for its addresses before it starts.
  const discovery = createServer((_request, response) => {
    const names = ['token', 'authorization', 'revocation', 'userinfo'];
    const endpoints = names.map((name) => [`${name}_endpoint`, `https://op.bench/${name}`]);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ...Object.fromEntries(endpoints), jwks_uri: 'https://op.bench/jwk' }));
  });
  discovery.listen(0, '127.0.0.1');
  await once(discovery, 'listening');
  const address = discovery.address();
  const discoveryPort = typeof address === 'object' ? address?.port : undefined;
  mkdirSync(path.join(folder, '.config'));
  const issuerOf = (name: string) => `http://127.0.0.1:${discoveryPort}/${name}`;
  const sections = Object.keys(PROVIDERS).map(
    (name) => `[auth.${name}]
op_url = ${issuerOf(name)}
client_id = bench
client_secret = bench
scopes = openid
internal = ${name === 'hpc' ? 'True' : 'False'}
`,
  );
  writeFileSync(
    path.join(folder, '.config', 'alise.conf'),
    `[messages]\nlog_level = WARNING\n[database]\ndb_name = alise\n${sections.join('')}`,
  );
  const child = spawn(
    path.join(bin, 'uvicorn'),
    [
      'alise.daemon:app',
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--no-access-log',
      '--log-level',
      'warning',
    ],
    { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const complaints: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => void complaints.push(chunk));
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
    discovery.close();
    discovery.closeAllConnections();
  };
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/version`).catch(() => undefined);
    if (answer?.ok) return { port, communityIssuer: issuerOf('community'), stop };
    if (attempt === 300 || child.exitCode !== null) {
      await stop();
      throw new Error(`ALISE did not start: ${Buffer.concat(complaints).toString().slice(-1000)}`);
    }
    await sleep(100);
  }
}

/** A port of the loopback that nobody has taken. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}
