import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { cpus, hostname, totalmem } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { createOnce } from '../../shim/durable-files.ts';
import { logFile, START_MARKER, type StartMarker } from '../../shim/job-file.ts';
import { bootId, isAlive, isErrno } from '../../shim/process-identity.ts';
import type { BackEnd, JobReference, Observation } from '../back-end.ts';
import type { Confinement } from '../confinement/confinement.ts';
import { readContainerNames, readContainerRecords, readShimStatus, writeJobFolder } from '../job-folder.ts';
import type { Runtime } from '../runtime.ts';

export interface SandboxOptions {
  confinement: Confinement;
  runtime: Runtime;
  network: 'host' | 'none';
  /** Touched by shims when something has changed. */
  noticeFile: string;
}

const handleSchema = z.object({ host: z.string() });

/**
 * Runs jobs on this very host, each under a shim in a session of its own. Everything that there is to know about a job
 * lies in its folder, so a job is adopted by whoever looks there: its process is named by pid, start time and boot.
 */
export function sandbox(options: SandboxOptions): BackEnd {
  return {
    name: 'sandbox',
    capabilities: { queues: false, remote: false },

    fingerprint: async () => ({
      cpus: cpus().length,
      memoryBytes: totalmem(),
      confinement: options.confinement.name,
    }),

    async submit(job) {
      const submission = {
        jid: job.id,
        handle: { host: hostname() },
        unconfined: options.confinement.name === 'none',
      };
      const { marker } = await readShimStatus(job.folder);
      // Begun or cancelled already: a shim would see the same and end at once.
      if (marker !== undefined) return submission;
      await writeJobFolder(
        job,
        options.confinement,
        { name: job.name, nodeBinary: options.runtime.nodeBinary, network: options.network },
        options.noticeFile,
      );
      await startShim(options.runtime, job.folder);
      return submission;
    },

    inspect: (jobs) => Promise.all(jobs.map(inspectJob)),

    async cancel(job, graceSeconds) {
      await mkdir(join(job.folder, 'status'), { recursive: true, mode: 0o700 });
      const cancelled: StartMarker = {
        token: job.token,
        process: null,
        startedAt: new Date().toISOString(),
      };
      if (createOnce(join(job.folder, START_MARKER), JSON.stringify(cancelled))) return;
      const { marker, end } = await readShimStatus(job.folder);
      if (end !== undefined || !marker?.process || !isAlive(marker.process)) return;
      try {
        // The shim knows the pod's own grace period; SIGINT means at once.
        process.kill(marker.process.pid, graceSeconds > 0 ? 'SIGTERM' : 'SIGINT');
      } catch (error) {
        if (!isErrno(error, 'ESRCH')) throw error;
      }
    },

    logFile: (job, container) => join(job.folder, logFile(container)),
  };
}

async function startShim(runtime: Runtime, folder: string): Promise<void> {
  const log = openSync(join(folder, 'private/shim.log'), 'a', 0o600);
  try {
    const child = spawn(runtime.nodeBinary, [runtime.shim, folder], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['ignore', log, log],
    });
    await once(child, 'spawn');
    child.unref();
  } catch (cause) {
    throw new WeftError('unavailable', 'shim-not-started', 'The job could not be started on this host.', {
      cause,
    });
  } finally {
    closeSync(log);
  }
}

async function inspectJob(job: JobReference): Promise<Observation> {
  const { id } = job;
  const { marker, end } = await readShimStatus(job.folder);
  if (marker === undefined) {
    const handle = handleSchema.safeParse(job.handle);
    const elsewhere = handle.success && handle.data.host !== hostname();
    return { id, state: elsewhere ? 'elsewhere' : 'unknown' };
  }
  if (marker.process === null) return { id, state: 'cancelled' };
  const { startedAt } = marker;
  if (end !== undefined) return { id, state: 'ended', startedAt, end };
  if (marker.process.host !== hostname()) return { id, state: 'elsewhere' };

  const alive = isAlive(marker.process);
  const containers = await readContainerRecords(job.folder, await readContainerNames(job.folder));
  if (alive) return { id, state: 'running', startedAt, containers };
  // It may have written its end between our two looks.
  const { end: last } = await readShimStatus(job.folder);
  if (last !== undefined) return { id, state: 'ended', startedAt, end: last };
  return {
    id,
    state: 'lost',
    containers,
    ...(marker.process.bootId === bootId()
      ? { reason: 'JobLost', message: 'The process that watched over the job is gone, and with it the job.' }
      : { reason: 'NodeLost', message: 'The host was restarted while the job ran.' }),
  };
}
