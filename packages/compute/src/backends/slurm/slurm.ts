import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { createOnce, writeDurably } from '../../shim/durable-files.ts';
import { type Account, logFile, START_MARKER, type StartMarker } from '../../shim/job-file.ts';
import type { BackEnd, Fingerprint, JobReference, Observation, PreparedJob } from '../back-end.ts';
import type { Confinement } from '../confinement/confinement.ts';
import { readContainerNames, readContainerRecords, readShimStatus, writeJobFolder } from '../job-folder.ts';
import type { Runtime } from '../runtime.ts';
import { type RunSlurm, runSlurm } from './commands.ts';
import { COMMENT_PREFIX, LIST_FORMAT, type ListedJob, meaningOf, parseList } from './job-states.ts';

export interface SlurmOptions {
  confinement: Confinement;
  runtime: Runtime;
  network: 'host' | 'none';
  noticeFile: string;
  /** That jobs run under, when we are root; the shim, too. */
  account: Account | undefined;
  run?: RunSlurm;
}

const handleSchema = z.object({ jid: z.string() });

/** Made before the first `sbatch` of an attempt: when it is there, a job may be queued that we never heard of. */
const INTENT = 'private/intent';
/** Files on a shared file system may be seen later than the job's end (brief interlink 8.29). */
const FILES_MAY_LAG_MILLISECONDS = 10_000;
/** How long a job that Slurm no longer knows may still turn up (brief interlink 3.4, 10). */
const GRACE_MILLISECONDS = 60_000;
const FINGERPRINT_MILLISECONDS = 30_000;

/**
 * Runs jobs through Slurm. The batch script does nothing but become the shim; how a job ended is what the shim wrote, and
 * Slurm is asked, once for all jobs, where those are that have not. Folders of jobs lie on a file system that the nodes
 * share.
 */
export function slurm(options: SlurmOptions): BackEnd {
  const run = options.run ?? runSlurm;
  let known: { at: number; fingerprint: Fingerprint } | undefined;

  /**
   * All jobs of ours that Slurm remembers, by token. An attempt that was submitted twice is in the list twice: the one that
   * came second has found the start marker and ended, so the one that goes on counts.
   */
  async function list(): Promise<Map<string, ListedJob>> {
    const output = await run('squeue', ['--noheader', '--states=all', `--format=${LIST_FORMAT}`]);
    const jobs = parseList(output).sort((one, other) => Number(isOver(other)) - Number(isOver(one)));
    return new Map(jobs.map((job) => [job.token, job]));
  }

  async function jidOf(job: JobReference): Promise<string | undefined> {
    return handleSchema.safeParse(job.handle).data?.jid ?? (await list()).get(job.token)?.jid;
  }

  return {
    name: 'slurm',
    capabilities: { queues: true, remote: true },

    async fingerprint() {
      if (known === undefined || Date.now() - known.at > FINGERPRINT_MILLISECONDS) {
        const output = await run('sinfo', ['--Node', '--noheader', '--format=%n|%c|%m']);
        known = {
          at: Date.now(),
          fingerprint: { ...readNodes(output), confinement: options.confinement.name },
        };
      }
      return known.fingerprint;
    },

    async submit(job) {
      const submission = (jid: string) => ({
        jid,
        handle: { jid },
        unconfined: options.confinement.name === 'none',
      });
      await mkdir(join(job.folder, 'private'), { recursive: true, mode: 0o700 });
      const { marker } = await readShimStatus(job.folder);
      if (marker !== undefined || !createOnce(join(job.folder, INTENT), job.token)) {
        const queued = (await list()).get(job.token);
        if (queued !== undefined) return submission(queued.jid);
        // Begun, or cancelled before: Slurm has forgotten it, the files tell the rest.
        if (marker !== undefined) return submission(job.id);
      }
      await writeJobFolder(
        job,
        options.confinement,
        { name: job.name, nodeBinary: options.runtime.nodeBinary, network: options.network },
        options.noticeFile,
        options.account,
      );
      const script = join(job.folder, 'private/batch.sh');
      writeDurably(script, batchScript(options.runtime, job.folder));
      const output = await run('sbatch', [...submitOptions(job, options.account), script]);
      // `--parsable`: the id, and behind a semicolon the cluster of a federation.
      const [jid] = output.trim().split('\n').at(-1)?.split(';') ?? [];
      if (jid === undefined || !/^\d+$/.test(jid)) {
        throw new WeftError(
          'unavailable',
          'sbatch-answer',
          `sbatch answered "${output.trim()}" instead of a job id.`,
        );
      }
      return submission(jid);
    },

    async inspect(jobs) {
      const listed = await list();
      return Promise.all(jobs.map((job) => inspectJob(job, listed.get(job.token))));
    },

    async cancel(job, graceSeconds) {
      await mkdir(join(job.folder, 'status'), { recursive: true, mode: 0o700 });
      const cancelled: StartMarker = { token: job.token, process: null, startedAt: new Date().toISOString() };
      const beforeItBegan = createOnce(join(job.folder, START_MARKER), JSON.stringify(cancelled));
      const jid = await jidOf(job);
      if (jid === undefined) return;
      // The batch script is the shim: it knows the grace period and ends the containers in order.
      const gently = !beforeItBegan && graceSeconds > 0;
      await run('scancel', [...(gently ? ['--batch', '--signal=TERM'] : []), jid]);
    },

    logFile: (job, container) => join(job.folder, logFile(container)),
  };
}

function isOver(job: ListedJob): boolean {
  return meaningOf(job.state).kind === 'over';
}

async function inspectJob(job: JobReference, listed: ListedJob | undefined): Promise<Observation> {
  const { id } = job;
  const submission =
    listed === undefined ? {} : { submission: { jid: listed.jid, handle: { jid: listed.jid } } };
  const meaning = listed && meaningOf(listed.state);
  const { marker, end } = await readShimStatus(job.folder);
  if (marker?.process === null) return { id, state: 'cancelled' };
  if (marker !== undefined && end !== undefined) {
    const reason = meaning?.kind === 'over' ? meaning.reason : undefined;
    return {
      id,
      state: 'ended',
      startedAt: marker.startedAt,
      end,
      ...submission,
      ...(reason === undefined ? {} : { reason }),
    };
  }
  if (meaning?.kind === 'queued') {
    return { id, state: 'queued', reason: meaning.reason, message: listed?.reason ?? '', ...submission };
  }
  const containers = await readContainerRecords(job.folder, await readContainerNames(job.folder));
  if (meaning?.kind === 'running') {
    return marker === undefined
      ? { id, state: 'queued', reason: 'Starting', ...submission }
      : { id, state: 'running', startedAt: marker.startedAt, containers, ...submission };
  }
  if (marker === undefined && meaning === undefined) return { id, state: 'unknown' };
  const since = Date.now() - (marker === undefined ? 0 : new Date(marker.startedAt).getTime());
  const patience = meaning === undefined ? GRACE_MILLISECONDS : FILES_MAY_LAG_MILLISECONDS;
  if (marker !== undefined && since < patience) {
    return { id, state: 'running', startedAt: marker.startedAt, containers, ...submission };
  }
  return {
    id,
    state: 'lost',
    containers,
    reason: meaning?.reason ?? 'JobLost',
    message:
      listed === undefined
        ? 'Slurm no longer knows the job, and it did not say how it ended.'
        : `Slurm says ${listed.state} of the job ${listed.jid}, which did not say how it ended.`,
    ...submission,
  };
}

function submitOptions(job: PreparedJob, account: Account | undefined): string[] {
  return [
    '--parsable',
    `--job-name=${job.uid}`,
    `--comment=${COMMENT_PREFIX}${job.token}`,
    '--no-requeue',
    '--export=NONE',
    '--ntasks=1',
    `--cpus-per-task=${job.resources.cpus}`,
    `--mem=${Math.max(1, Math.ceil(job.resources.memoryBytes / 2 ** 20))}M`,
    `--output=${job.folder}/private/batch.log`,
    `--chdir=${job.folder}`,
    ...(job.deadlineSeconds === undefined
      ? []
      : [`--time=${Math.ceil((job.deadlineSeconds + job.graceSeconds) / 60)}`]),
    // sbatch keeps the group 0 unless it is told otherwise (brief interlink 3.6, 4).
    ...(account === undefined ? [] : [`--uid=${account.uid}`, `--gid=${account.gid}`]),
  ];
}

/** Nothing in it comes from a pod. */
function batchScript(runtime: Runtime, folder: string): string {
  return `#!/bin/sh\nexec ${[runtime.nodeBinary, runtime.shim, folder].map(quote).join(' ')}\n`;
}

/** One word of a shell that stands for exactly this text. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Nodes stand in the list once per partition. */
function readNodes(output: string): Pick<Fingerprint, 'cpus' | 'memoryBytes'> {
  const nodes = new Map(
    output.split('\n').flatMap((line) => {
      const [name, cpus, megabytes] = line.trim().split('|');
      return name && cpus && megabytes
        ? [[name, { cpus: Number(cpus), memoryBytes: Number(megabytes) * 2 ** 20 }] as const]
        : [];
    }),
  );
  const all = [...nodes.values()];
  return {
    cpus: all.reduce((sum, { cpus }) => sum + cpus, 0),
    memoryBytes: all.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
  };
}
