import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeAccounts, whyNoAccounts } from '../../packages/storage/test/local-accounts.ts';
import { startTestSite, type TestProcess, type TestSite } from '../../packages/storage/test/start-door.ts';
import type { ChaosReport, ChaosRun } from './run.ts';

const UPLOADS = Number(process.env.WEFT_CHAOS_UPLOADS ?? 1000);
const LANES = 8;
const MAXIMUM_BYTES = 400_000;

/**
 * Uploads while the service, the worker of the local user and clients are killed at random moments: every file under a
 * final name is whole, none that was acknowledged is lost, and nothing unfinished is left after a restart.
 */
const chaos: ChaosRun = {
  name: 'storage',
  async run(report) {
    await inMode(report, 'single-user', {}, (root) => root);
    const reason = whyNoAccounts();
    if (reason !== undefined) return report.note(`multi-user: skipped, ${reason}`);
    const { accounts: made, remove: removeAccounts } = makeAccounts(1);
    const account = made[0]?.name ?? '';
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-chaos-'));
    try {
      chmodSync(folder, 0o777);
      const accounts = path.join(folder, 'accounts');
      const config = (issuer: string) => {
        writeFileSync(accounts, `${account} alice ${issuer}\n`);
        return {
          areas: [{ name: 'own', root: path.join(folder, '{username}') }],
          multi_user: { mapping: [{ method: 'file', file: accounts }] },
        };
      };
      await inMode(report, 'multi-user', config, () => path.join(folder, account));
    } finally {
      rmSync(folder, { recursive: true, force: true });
      removeAccounts();
    }
  },
};

export default chaos;

type Config = Record<string, unknown> | ((issuer: string) => Record<string, unknown>);

async function inMode(
  report: ChaosReport,
  mode: string,
  config: Config,
  rootOf: (root: string) => string,
): Promise<void> {
  const site = await startTestSite();
  try {
    const child = await site.prepareProcess(
      'observatory',
      typeof config === 'function' ? config(site.issuer.issuer) : config,
    );
    await upload(report, mode, site, child, rootOf(child.door.root));
  } finally {
    await site.stop();
  }
}

async function upload(
  report: ChaosReport,
  mode: string,
  site: TestSite,
  child: TestProcess,
  root: string,
): Promise<void> {
  const sums = new Map<string, string>();
  const acknowledged = new Set<string>();
  const kills = { service: 0, worker: 0, client: 0 };
  /** By status; without one, the connection broke. */
  const answers = new Map<number | undefined, number>();
  let attempts = 0;
  for (let round = 0; attempts < UPLOADS; round++) {
    await child.start();
    let stop = false;
    const lanes = Array.from({ length: LANES }, async (_, lane) => {
      for (let index = 0; !stop && attempts < UPLOADS; index++) {
        attempts += 1;
        const name = `r${round}-${lane}-${index}`;
        const body = randomBytes(Math.floor(Math.random() * MAXIMUM_BYTES));
        sums.set(name, sumOf(body));
        const leaves = Math.random() < 0.1;
        if (leaves) kills.client += 1;
        const status = await put(site, child, `/f/${name}`, body, leaves);
        answers.set(status, (answers.get(status) ?? 0) + 1);
        if (status === 201) acknowledged.add(name);
        // Nobody is there, or the worker has just been killed.
        if (status !== 201 && !leaves) await sleep(200);
      }
    });
    const before = acknowledged.size;
    let until = Number.POSITIVE_INFINITY;
    while (performance.now() < until && attempts < UPLOADS) {
      await sleep(100 + Math.random() * 400);
      // Counted from the first success: starting takes long on a busy machine.
      if (acknowledged.size > before) until = Math.min(until, performance.now() + Math.random() * 2000);
      if (acknowledged.size > before && Math.random() < 0.5) kills.worker += killWorkers(child.pid);
    }
    await child.kill();
    kills.service += 1;
    stop = true;
    await Promise.all(lanes);
  }
  await child.start();
  const answer = await child.door.call('PROPFIND', '/f/', { headers: { depth: '0' } });
  report.note(
    `${mode}: ${attempts} uploads, ${acknowledged.size} acknowledged; killed the service ${kills.service}, workers ${kills.worker}, clients ${kills.client} times; answers ${[...answers].map(([status, count]) => `${status ?? 'broken'}: ${count}`).join(', ')}`,
  );
  report.check(`${mode}: the service answers after it all`, answer.status === 207, String(answer.status));
  const present = readdirSync(path.join(root, 'f'));
  const broken = present.filter((name) => sumOf(readFileSync(path.join(root, 'f', name))) !== sums.get(name));
  report.check(`${mode}: every file under a final name is whole`, broken.length === 0, broken.join(', '));
  const names = new Set(present);
  const lost = [...acknowledged].filter((name) => !names.has(name));
  report.check(`${mode}: no acknowledged upload is lost`, lost.length === 0, lost.join(', '));
  const left = filesBelow(path.join(root, '.weft-staging'));
  report.check(`${mode}: nothing unfinished is left`, left.length === 0, left.join(', '));
  await child.kill();
}

function put(
  site: TestSite,
  child: TestProcess,
  target: string,
  body: Buffer,
  leaves: boolean,
): Promise<number | undefined> {
  return child.door.token('storage.read:/ storage.modify:/').then(
    (token) =>
      new Promise((resolve) => {
        const request = httpsRequest(`${child.door.url}${target}`, {
          agent: site.agent,
          method: 'PUT',
          headers: { authorization: `Bearer ${token}`, 'content-length': body.length },
        });
        request.on('error', () => resolve(undefined));
        request.on('response', (response) => {
          response.resume();
          response.on('error', () => resolve(undefined));
          response.on('end', () => resolve(response.statusCode));
        });
        if (leaves) {
          request.write(body.subarray(0, body.length / 2));
          setTimeout(() => request.destroy(), Math.random() * 50);
        } else {
          request.end(body);
        }
      }),
  );
}

/** kill -9 for every child of the service: in multi-user mode its workers, otherwise there is none. */
function killWorkers(service: number | undefined): number {
  let killed = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      if (Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]) !== service) continue;
      process.kill(Number(pid), 'SIGKILL');
      killed += 1;
    } catch {
      // It has ended meanwhile.
    }
  }
  return killed;
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(path.join(folder, name)).isFile(),
  );
}

function sumOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
