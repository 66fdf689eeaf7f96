/**
 * The shim stands between a batch system, or nobody at all, and a pod's containers: `node main.ts <folder of the job>`.
 * It runs them once, writes down how they ended, and needs none of our services to be alive while it does so. It uses
 * nothing but Node.js, because it is copied to where the jobs are.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createOnce, writeDurably } from './durable-files.ts';
import {
  type ContainerRecord,
  END_RECORD,
  type EndRecord,
  JOB_FILE,
  type JobFile,
  START_MARKER,
  type StartMarker,
} from './job-file.ts';
import { ownIdentity, ProcessTree, readProcessStat, TICKS_PER_SECOND } from './process-identity.ts';
import { type RunningContainer, runContainer } from './run-container.ts';

async function main(folder: string): Promise<void> {
  const job: JobFile = JSON.parse(readFileSync(join(folder, JOB_FILE), 'utf8'));
  const marker: StartMarker = {
    token: job.token,
    process: ownIdentity(),
    startedAt: new Date().toISOString(),
  };
  // Whoever makes the marker runs the job; a second start of the same attempt, or one after a cancellation, ends here.
  if (!createOnce(join(folder, START_MARKER), JSON.stringify(marker))) return;

  const changed = () => notice(job.noticeFile);
  const running = new Set<RunningContainer>();
  let stopping = false;
  let killTimer: NodeJS.Timeout | undefined;

  /** SIGTERM now, SIGKILL after the grace period (Kubernetes: terminationGracePeriodSeconds). */
  function stop(reason?: string): void {
    if (stopping) return;
    stopping = true;
    for (const container of running) container.terminate(reason);
    killTimer = setTimeout(() => {
      for (const container of running) container.kill(reason);
    }, job.graceSeconds * 1000);
  }
  process.on('SIGTERM', () => stop());
  process.on('SIGINT', () => {
    stopping = true;
    for (const container of running) container.kill();
  });
  process.on('SIGHUP', () => undefined);
  const deadline =
    job.deadlineSeconds === undefined
      ? undefined
      : setTimeout(() => stop('DeadlineExceeded'), Math.min(job.deadlineSeconds * 1000, 0x7fffffff));

  let peakMemoryBytes = 0;
  const cpuTicks = new Map<RunningContainer, number>();
  const began = Date.now();
  let measuring: NodeJS.Timeout;
  function measure(): void {
    const tree = new ProcessTree();
    let memoryBytes = 0;
    for (const container of running) {
      const usage = container.measure(tree);
      memoryBytes += usage.memoryBytes;
      cpuTicks.set(container, Math.max(usage.cpuTicks, cpuTicks.get(container) ?? 0));
    }
    peakMemoryBytes = Math.max(peakMemoryBytes, memoryBytes);
    measuring = setTimeout(measure, Math.min(1000, Math.max(50, (Date.now() - began) / 10)));
  }
  measuring = setTimeout(measure, 50);

  async function run(container: JobFile['containers'][number]): Promise<ContainerRecord> {
    const started = runContainer(folder, container, changed);
    running.add(started);
    const record = await started.record;
    running.delete(started);
    return record;
  }

  const records: ContainerRecord[] = [];
  for (const container of job.initContainers) {
    if (stopping) break;
    records.push(await run(container));
    if (records.at(-1)?.end?.exitCode !== 0) break;
  }
  const initialised =
    records.length === job.initContainers.length && records.every(({ end }) => end?.exitCode === 0);
  if (initialised && !stopping) records.push(...(await Promise.all(job.containers.map(run))));

  clearTimeout(measuring);
  clearTimeout(deadline);
  clearTimeout(killTimer);
  const end: EndRecord = {
    token: job.token,
    endedAt: new Date().toISOString(),
    containers: records,
    cpuSeconds: cpuSeconds([...cpuTicks.values()]),
    peakMemoryBytes,
  };
  writeDurably(join(folder, END_RECORD), JSON.stringify(end));
  changed();
}

/**
 * The kernel adds up the time of children that were waited for; bubblewrap ends without waiting for its own, so that what
 * we saw last counts when it is more. That misses at most a tenth of the job's time, because we look that often.
 */
function cpuSeconds(seenTicks: readonly number[]): number {
  const waitedFor = readProcessStat('self')?.childrenCpuTicks ?? 0;
  const seen = seenTicks.reduce((sum, ticks) => sum + ticks, 0);
  return Math.max(waitedFor, seen) / TICKS_PER_SECOND;
}

/** A hint for whoever watches; the poll behind it finds the change without, so that a failure here must end nothing. */
function notice(file: string): void {
  try {
    writeFileSync(file, '', { mode: 0o666 });
  } catch (error) {
    process.stderr.write(`no notice was given: ${String(error)}\n`);
  }
}

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write('usage: main.ts <folder of the job>\n');
  process.exit(64);
}
await main(folder);
