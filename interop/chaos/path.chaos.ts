import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { ChaosReport, ChaosRun } from './run.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');
const ROUNDS = 10;
const PORT_BASE = 26_000;

const lineSchema = z.object({ uid: z.string(), event: z.enum(['started', 'completed']), pid: z.number() });
type JournalLine = z.output<typeof lineSchema>;

/**
 * The path of the twin, its whole process group killed at a random moment, ten times, each on a fresh data folder; started
 * again, it must end with the same numbers, and every pod must have completed exactly once.
 */
const chaos: ChaosRun = {
  name: 'path',
  async run(report) {
    const undisturbed = await measure(report);
    let kills = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      const data = mkdtempSync(path.join(tmpdir(), 'weft-chaos-'));
      // One round in two waits for the job to be alive, so that adoption is seen and not left to luck.
      const whileRunning = round % 2 === 0;
      const child = start(data);
      const moment = whileRunning ? await untilJobRuns(data, child.process) : Math.random() * undisturbed;
      if (!whileRunning) await Promise.race([sleep(moment), child.ended]);
      const jobs = whileRunning ? aliveJobs(data) : [];
      killGroup(child.process);
      await child.ended;
      kills += 1;
      report.note(
        `round ${round}: killed after ${(moment / 1000).toFixed(1)} s${jobs.length > 0 ? ` with job ${jobs.join(', ')} alive` : ''}`,
      );
      const again = start(data);
      const { code, output } = await again.ended;
      report.check(
        `round ${round}: started again, the path ends with the same numbers`,
        code === 0,
        code === 0 ? lastLine(output) : output,
      );
      checkJournal(report, round, data, jobs);
      const halves = unfinishedUploads(data);
      report.check(`round ${round}: no half-written file is left`, halves.length === 0, halves.join(', '));
      if (code === 0) rmSync(data, { recursive: true, force: true });
      else report.note(`kept ${data}`);
    }
    report.note(`killed the whole process group ${kills} times`);
  },
};

interface Started {
  readonly process: ChildProcess;
  readonly ended: Promise<{ code: number | null; output: string }>;
}

function start(data: string): Started {
  const child = spawn(
    process.execPath,
    [
      path.join(ROOT, 'packages', 'cli', 'src', 'main.ts'),
      'demo',
      '--once',
      '--data',
      data,
      '--port-base',
      String(PORT_BASE),
    ],
    { detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = new Promise<{ code: number | null; output: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, output }));
  });
  return { process: child, ended };
}

function killGroup(child: ChildProcess): void {
  if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
}

/** Milliseconds that the path takes when nobody disturbs it: kills fall anywhere in it. */
async function measure(report: ChaosReport): Promise<number> {
  const data = mkdtempSync(path.join(tmpdir(), 'weft-chaos-'));
  const startedAt = performance.now();
  const { code, output } = await start(data).ended;
  const milliseconds = performance.now() - startedAt;
  report.check(
    'undisturbed, the path ends well',
    code === 0,
    code === 0 ? `${(milliseconds / 1000).toFixed(1)} s` : output,
  );
  rmSync(data, { recursive: true, force: true });
  return milliseconds;
}

async function untilJobRuns(data: string, child: ChildProcess): Promise<number> {
  const startedAt = performance.now();
  while (child.exitCode === null && !readJournal(data).some(({ event }) => event === 'started'))
    await sleep(5);
  return performance.now() - startedAt;
}

function checkJournal(
  report: ChaosReport,
  round: number,
  data: string,
  aliveAtKill: readonly string[],
): void {
  const completed = new Map<string, number>();
  const started = new Map<string, number>();
  for (const { uid, event } of readJournal(data)) {
    const counter = event === 'started' ? started : completed;
    counter.set(uid, (counter.get(uid) ?? 0) + 1);
  }
  const counts = [...completed.values()];
  report.check(
    `round ${round}: exactly one completed line per pod`,
    counts.length > 0 && counts.every((count) => count === 1),
    JSON.stringify(Object.fromEntries(completed)),
  );
  for (const uid of aliveAtKill) {
    report.check(
      `round ${round}: the job alive at the kill was adopted, not started again`,
      started.get(uid) === 1,
      uid,
    );
  }
}

/** Pods that have begun and not completed. */
function aliveJobs(data: string): string[] {
  const lines = readJournal(data);
  const done = new Set(lines.filter(({ event }) => event === 'completed').map(({ uid }) => uid));
  return [...new Set(lines.map(({ uid }) => uid))].filter((uid) => !done.has(uid));
}

function readJournal(data: string): JournalLine[] {
  const sites = path.join(data, 'sites');
  if (!existsSync(sites)) return [];
  return readdirSync(sites).flatMap((site) => {
    const file = path.join(sites, site, 'scratch', 'run-journal.ndjson');
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => lineSchema.parse(JSON.parse(line)));
  });
}

/** What the storages keep in their staging folders: uploads that are neither finished nor swept away. */
function unfinishedUploads(data: string): string[] {
  return globSync('sites/*/storage/.weft-staging/**/*', { cwd: data, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

export default chaos;
