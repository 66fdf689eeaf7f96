import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeAccounts, whyNoAccounts } from '../../packages/storage/test/local-accounts.ts';
import { workersOf } from '../../packages/storage/test/multi-user-site.ts';
import { startTestSite, type TestProcess, type TestSite } from '../../packages/storage/test/start-door.ts';
import type { ChaosReport, ChaosRun } from './run.ts';
import { startUploadClient, type UploadClient, type Uploads } from './storage-clients.ts';

const UPLOADS = Number(process.env.WEFT_CHAOS_UPLOADS ?? 1000);
const CLIENTS = 8;
const MAXIMUM_BYTES = 400_000;
/** In each mode; a start takes seconds on a busy machine. */
const MAXIMUM_SERVICE_KILLS = 20;
const UPLOADS_BETWEEN_PROCESS_KILLS = 25;
const USERS = ['alice', 'bob', 'carol'];
const SCOPE = 'storage.read:/ storage.modify:/';

/** One way of running the service, and where each user's files then lie. */
interface Mode {
  readonly name: string;
  readonly users: readonly string[];
  readonly config: Record<string, unknown>;
  rootOf(user: string, area: string): string;
}

/**
 * Uploads while the service, one of its processes where it has several, the workers of the local users and the clients are killed with SIGKILL at random moments: every
 * file under a final name is whole, none that was acknowledged is lost, nothing unfinished is left after a restart, and no
 * worker outlives its service.
 */
const chaos: ChaosRun = {
  name: 'storage',
  async run(report) {
    await inMode(report, () => ({
      name: 'single-user',
      users: ['alice'],
      config: {},
      rootOf: (_, area) => area,
    }));
    await inMode(report, () => ({
      name: 'single-user, 2 processes',
      users: ['alice'],
      config: { processes: 2 },
      rootOf: (_, area) => area,
    }));
    const reason = whyNoAccounts();
    if (reason !== undefined) return report.note(`multi-user: skipped, ${reason}`);
    const { accounts, remove } = makeAccounts(USERS.length);
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-chaos-'));
    const nameOf = (user: string) => accounts[USERS.indexOf(user)]?.name ?? '';
    try {
      chmodSync(folder, 0o1777);
      await inMode(report, (issuer) => {
        const file = path.join(folder, 'accounts');
        writeFileSync(file, USERS.map((user) => `${nameOf(user)} ${user} ${issuer}\n`).join(''));
        return {
          name: 'multi-user',
          users: USERS,
          config: {
            areas: [{ name: 'own', root: path.join(folder, '{username}') }],
            multi_user: { mapping: [{ method: 'file', file }] },
          },
          rootOf: (user) => path.join(folder, nameOf(user)),
        };
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
      remove();
    }
  },
};

export default chaos;

async function inMode(report: ChaosReport, modeFor: (issuer: string) => Mode): Promise<void> {
  const site = await startTestSite();
  try {
    const mode = modeFor(site.issuer.issuer);
    const service = await site.prepareProcess('observatory', mode.config);
    const uploads: Uploads = { attempts: 0, sums: new Map(), acknowledged: new Set(), answers: new Map() };
    await killWhileUploading(report, site, service, mode, uploads);
    await checkWhatIsLeft(report, service, mode, uploads);
  } finally {
    await site.stop();
  }
}

/** Kills whatever is there, until enough uploads were begun. */
async function killWhileUploading(
  report: ChaosReport,
  site: TestSite,
  service: TestProcess,
  mode: Mode,
  uploads: Uploads,
): Promise<void> {
  /** How often, and how often with an upload in flight. */
  const kills = { service: 0, process: 0, worker: 0, client: 0 };
  const inFlight = { service: 0, process: 0, worker: 0, client: 0 };
  const clients = new Map<number, { user: string; client: UploadClient }>();
  let started = 0;
  let orphans = 0;
  /** Acknowledged when a single process was killed last. */
  let survived = 0;
  const token = async (user: string) => await service.door.token(SCOPE, { sub: user });
  const begin = async (slot: number) => {
    const user = mode.users[slot % mode.users.length] ?? '';
    const order = {
      url: service.door.url,
      authority: site.authority.certificate,
      token: await token(user),
      prefix: `${user}-${started++}`,
      maximumBytes: MAXIMUM_BYTES,
    };
    clients.set(slot, { user, client: startUploadClient(order, uploads) });
  };
  const busy = () => [...clients.values()].filter(({ client }) => client.busy()).length;

  await service.start();
  await Promise.all(Array.from({ length: CLIENTS }, (_, slot) => begin(slot)));
  while (uploads.attempts < UPLOADS) {
    const before = uploads.acknowledged.size;
    let until = Number.POSITIVE_INFINITY;
    while (performance.now() < until && uploads.attempts < UPLOADS) {
      await sleep(50 + Math.random() * 250);
      if (uploads.acknowledged.size === before) continue;
      // Counted from the first success: starting takes long on a busy machine.
      if (kills.service < MAXIMUM_SERVICE_KILLS)
        until = Math.min(until, performance.now() + Math.random() * 3000);
      const serving = service.serving();
      // One of several: the others go on, and nobody is refused. A new one needs time to start.
      if (serving.length > 1 && uploads.acknowledged.size > survived + UPLOADS_BETWEEN_PROCESS_KILLS) {
        survived = uploads.acknowledged.size;
        inFlight.process += busy() > 0 ? 1 : 0;
        kills.process += killNow(serving[Math.floor(Math.random() * serving.length)] ?? 0);
      }
      if (Math.random() < 0.4) {
        for (const { pid } of workersOf(service.pid).filter(() => Math.random() < 0.5)) {
          inFlight.worker += busy() > 0 ? 1 : 0;
          kills.worker += killNow(pid);
        }
      }
      if (Math.random() < 0.4) {
        const slot = Math.floor(Math.random() * CLIENTS);
        const victim = clients.get(slot)?.client;
        inFlight.client += victim?.busy() ? 1 : 0;
        kills.client += 1;
        await victim?.kill();
        await begin(slot);
      }
    }
    const workers = workersOf(service.pid).map(({ pid }) => pid);
    inFlight.service += busy() > 0 ? 1 : 0;
    kills.service += 1;
    await service.kill();
    orphans += await survivorsOf(workers);
    await service.start();
  }
  for (const { client } of clients.values()) await client.kill();

  const { attempts, acknowledged, answers } = uploads;
  const list = (['service', 'process', 'worker', 'client'] as const)
    .filter((victim) => kills[victim] > 0)
    .map((victim) => `${victim} ${kills[victim]} times (${inFlight[victim]} with an upload in flight)`);
  report.note(`${mode.name}: killed ${list.join(', ')}`);
  report.note(
    `${mode.name}: ${attempts} uploads, ${acknowledged.size} acknowledged; answers ${[...answers].map(([status, count]) => `${status ?? 'broken'}: ${count}`).join(', ')}`,
  );
  report.check(`${mode.name}: no worker outlives its service`, orphans === 0, `${orphans} did`);
  const odd = [...answers.keys()].filter(
    (status) => status !== undefined && status !== 201 && status !== 503,
  );
  report.check(`${mode.name}: every answer is 201 or 503`, odd.length === 0, odd.join(', '));
}

const SWEPT_WITHIN_MILLISECONDS = 15_000;

async function checkWhatIsLeft(
  report: ChaosReport,
  service: TestProcess,
  mode: Mode,
  { sums, acknowledged }: Uploads,
): Promise<void> {
  await service.kill();
  await service.start();
  const answers: number[] = [];
  const broken: string[] = [];
  const staging: string[] = [];
  const present = new Set<string>();
  for (const user of mode.users) {
    const token = await service.door.token(SCOPE, { sub: user });
    const answer = await service.door.call('PROPFIND', '/f/', { token, headers: { depth: '0' } });
    answers.push(answer.status);
    const root = mode.rootOf(user, service.door.root);
    for (const name of existsSync(path.join(root, 'f')) ? readdirSync(path.join(root, 'f')) : []) {
      present.add(name);
      const sum = createHash('sha256')
        .update(readFileSync(path.join(root, 'f', name)))
        .digest('hex');
      if (sum !== sums.get(name)) broken.push(name);
    }
    staging.push(path.join(root, '.weft-staging'));
  }
  // Workers of the killed service end a moment after it, and what they left is swept a moment after that.
  const unfinished = () => staging.flatMap((folder) => filesBelow(folder));
  const deadline = performance.now() + SWEPT_WITHIN_MILLISECONDS;
  while (unfinished().length > 0 && performance.now() < deadline) await sleep(100);
  const left = unfinished();
  const lost = [...acknowledged].filter((name) => !present.has(name));
  report.check(
    `${mode.name}: the service answers after it all`,
    answers.every((status) => status === 207),
    answers.join(', '),
  );
  report.check(
    `${mode.name}: every file under a final name is whole`,
    broken.length === 0,
    `${present.size} files; ${broken.join(', ')}`,
  );
  report.check(`${mode.name}: no acknowledged upload is lost`, lost.length === 0, lost.join(', '));
  report.check(`${mode.name}: nothing unfinished is left`, left.length === 0, left.join(', '));
  await service.kill();
}

/** How many of these processes are still there, a moment after their parent has been killed. */
async function survivorsOf(pids: readonly number[]): Promise<number> {
  const alive = () => pids.filter((pid) => /^State:\s+[^ZX]/m.test(statusOf(pid)));
  for (let patience = 0; patience < 20 && alive().length > 0; patience++) await sleep(50);
  return alive().length;
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}

function killNow(pid: number): number {
  try {
    process.kill(pid, 'SIGKILL');
    return 1;
  } catch {
    // It has ended meanwhile.
    return 0;
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(path.join(folder, name)).isFile(),
  );
}
