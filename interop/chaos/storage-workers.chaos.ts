import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeAccounts, type TestAccount, whyNoAccounts } from '../../packages/storage/test/local-accounts.ts';
import { workersOf } from '../../packages/storage/test/multi-user-site.ts';
import { startTestSite, type TestProcess } from '../../packages/storage/test/start-door.ts';
import type { ChaosReport, ChaosRun } from './run.ts';

const USERS = Number(process.env.WEFT_CHAOS_USERS ?? 200);
/** Users at once, and requests of each at once, when all workers are warm (brief teapot 6). */
const CROWD = 100;
const REQUESTS = 5;
const MAXIMUM_RESIDENT_MEBIBYTES = 50;
const MEBIBYTE = 1024;
/** As `Retry-After` says, and for how long. */
const RETRY_MILLISECONDS = 5_000;
const PATIENCE_MILLISECONDS = 180_000;

/** As many local users as one service may have, all at once: each is served as themselves, and all fit into memory. */
const chaos: ChaosRun = {
  name: 'storage',
  async run(report) {
    const reason = whyNoAccounts();
    if (reason !== undefined) return report.note(`${USERS} workers: skipped, ${reason}`);
    const { accounts, remove } = makeAccounts(USERS);
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-crowd-'));
    const site = await startTestSite();
    try {
      chmodSync(folder, 0o755);
      mkdirSync(path.join(folder, 'homes'));
      chmodSync(path.join(folder, 'homes'), 0o1777);
      const file = path.join(folder, 'accounts');
      const { issuer } = site.issuer;
      writeFileSync(file, accounts.map(({ name }) => `${name} ${name} ${issuer}\n`).join(''));
      const service = await site.prepareProcess('observatory', {
        areas: [{ name: 'own', root: path.join(folder, 'homes', '{username}') }],
        multi_user: { mapping: [{ method: 'file', file }], maximum_workers: USERS },
      });
      await service.start();
      await crowd(report, service, accounts, (name) => path.join(folder, 'homes', name, 'own'));
      const pids = workersOf(service.pid).map(({ pid }) => pid);
      await service.kill();
      await sleep(1000);
      const left = pids.filter((pid) => memoryOf(pid) !== undefined);
      report.check(`${USERS} workers: none outlives the service`, left.length === 0, `${left.length} did`);
    } finally {
      await site.stop();
      rmSync(folder, { recursive: true, force: true });
      remove();
    }
  },
};

export default chaos;

async function crowd(
  report: ChaosReport,
  service: TestProcess,
  accounts: readonly TestAccount[],
  fileOf: (name: string) => string,
): Promise<void> {
  const tokens = new Map<string, string>();
  for (const { name } of accounts)
    tokens.set(name, await service.door.token('storage.read:/ storage.modify:/', { sub: name }));
  const ask = async (method: string, name: string, body?: string) => {
    const startedAt = performance.now();
    const call = { token: tokens.get(name) ?? '', ...(body === undefined ? {} : { body }) };
    const send = () => service.door.call(method, '/own', call);
    // A connection that was kept for long may be closed by the other side at the moment that it is used again.
    const { status, text } = await send().catch(send);
    return { status, text, milliseconds: performance.now() - startedAt };
  };

  let asked = 0;
  /** Comes again when it is told to, as clients do. */
  const arrive = async (name: string) => {
    const startedAt = performance.now();
    for (;;) {
      asked += 1;
      const { status } = await ask('PUT', name, `of ${name}`);
      const milliseconds = performance.now() - startedAt;
      if (status !== 503 || milliseconds > PATIENCE_MILLISECONDS) return { status, milliseconds };
      await sleep(RETRY_MILLISECONDS);
    }
  };
  const cold = await Promise.all(accounts.map(({ name }) => arrive(name)));
  const refused = cold.filter(({ status }) => status !== 201 && status !== 204);
  report.note(
    `${USERS} users come at once, cold: ${describe(cold.map(({ milliseconds }) => milliseconds))}; told to come again: ${asked - USERS} times`,
  );
  report.check(
    `${USERS} workers: every user is served`,
    refused.length === 0,
    refused.map(({ status }) => status).join(', '),
  );
  const strangers = accounts.filter(({ name, uid, gid }) => {
    const stats = statSync(fileOf(name));
    return stats.uid !== uid || stats.gid !== gid || readFileSync(fileOf(name), 'utf8') !== `of ${name}`;
  });
  report.check(`${USERS} workers: every file belongs to its user`, strangers.length === 0);

  const workers = workersOf(service.pid);
  report.check(
    `${USERS} workers: one for each user runs`,
    new Set(workers.map(({ uid }) => uid)).size === USERS && workers.length === USERS,
    `${workers.length}`,
  );
  const memory = workers.flatMap(({ pid }) => memoryOf(pid) ?? []);
  const resident = memory.map(({ rss }) => rss / MEBIBYTE);
  const share = memory.map(({ pss }) => pss / MEBIBYTE);
  report.note(
    `memory of an idle worker, MiB: resident median ${median(resident)}, largest ${Math.max(...resident).toFixed(1)}; ` +
      `proportional share (PSS) median ${median(share)}; all ${USERS} together ${(sum(share) / 1024).toFixed(2)} GiB`,
  );
  report.check(
    `${USERS} workers: an idle one takes less than ${MAXIMUM_RESIDENT_MEBIBYTES} MiB of memory (PSS)`,
    Math.max(...share) < MAXIMUM_RESIDENT_MEBIBYTES,
    `${Math.max(...share).toFixed(1)} MiB`,
  );

  const names = accounts.slice(0, CROWD).map(({ name }) => name);
  const warm = await Promise.all(
    Array.from({ length: REQUESTS }, () =>
      names.map((name) => ask('GET', name).then((got) => ({ name, ...got }))),
    ).flat(),
  );
  const wrong = warm.filter(({ name, status, text }) => status !== 200 || text !== `of ${name}`);
  report.note(
    `${names.length} users with ${REQUESTS} requests each: ${describe(warm.map(({ milliseconds }) => milliseconds))}`,
  );
  report.check(
    `${USERS} workers: ${names.length} users with ${REQUESTS} requests at once each get their own file`,
    wrong.length === 0,
    `${wrong.length} did not`,
  );
}

/** KiB, from the kernel; nothing when the process is gone. */
function memoryOf(pid: number): { rss: number; pss: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
    return text === '' ? undefined : { rss: field('Rss'), pss: field('Pss') };
  } catch {
    return undefined;
  }
}

function describe(milliseconds: readonly number[]): string {
  return `median ${Math.round(Number(median(milliseconds)))} ms, longest ${Math.round(Math.max(...milliseconds))} ms`;
}

function median(values: readonly number[]): string {
  return (values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN).toFixed(
    1,
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
