import { chmod, chown, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../shim/durable-files.ts';
import {
  type Account,
  type ContainerRecord,
  type ContainerRun,
  containerRecordFile,
  END_RECORD,
  type EndRecord,
  JOB_FILE,
  type JobFile,
  START_MARKER,
  type StartMarker,
} from '../shim/job-file.ts';
import { isErrno } from '../shim/process-identity.ts';
import type { PreparedContainer, PreparedJob } from './back-end.ts';
import type { ConfinedPod, Confinement } from './confinement/confinement.ts';

/** What the shim and its readers agree on; `owner` runs the shim when it is not we ourselves. */
export async function writeJobFolder(
  job: PreparedJob,
  confinement: Confinement,
  pod: ConfinedPod,
  noticeFile: string,
  owner?: Account,
): Promise<void> {
  for (const name of ['private', 'status', 'logs']) {
    const folder = join(job.folder, name);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (owner) await chown(folder, owner.uid, owner.gid);
  }
  const prepare = async (container: PreparedContainer): Promise<ContainerRun> => {
    const { run, argumentsFile } = confinement.confine(container, pod);
    if (argumentsFile === undefined) return run;
    const name = `private/${container.name}.arguments`;
    await writePrivately(join(job.folder, name), argumentsFile, owner);
    return { ...run, argumentsFile: name };
  };
  const file: JobFile = {
    token: job.token,
    graceSeconds: job.graceSeconds,
    ...(job.deadlineSeconds === undefined ? {} : { deadlineSeconds: job.deadlineSeconds }),
    initContainers: await Promise.all(job.initContainers.map(prepare)),
    containers: await Promise.all(job.containers.map(prepare)),
    noticeFile,
  };
  await writePrivately(join(job.folder, JOB_FILE), JSON.stringify(file), owner);
}

async function writePrivately(file: string, content: string, owner: Account | undefined): Promise<void> {
  writeDurably(file, content);
  await chmod(file, 0o600);
  if (owner) await chown(file, owner.uid, owner.gid);
}

/** What the shim has written so far. */
export interface ShimStatus {
  readonly marker: StartMarker | undefined;
  readonly end: EndRecord | undefined;
}

export async function readShimStatus(folder: string): Promise<ShimStatus> {
  const marker = await readJson<StartMarker>(join(folder, START_MARKER));
  return { marker, end: marker && (await readJson<EndRecord>(join(folder, END_RECORD))) };
}

/** Containers that have begun, as far as is known now. */
export async function readContainerRecords(
  folder: string,
  names: readonly string[],
): Promise<ContainerRecord[]> {
  const records = await Promise.all(
    names.map((name) => readJson<ContainerRecord>(join(folder, containerRecordFile(name)))),
  );
  return records.filter((record) => record !== undefined);
}

/** Names of the containers of a job, init containers first. */
export async function readContainerNames(folder: string): Promise<string[]> {
  const job = await readJson<JobFile>(join(folder, JOB_FILE));
  return [...(job?.initContainers ?? []), ...(job?.containers ?? [])].map(({ name }) => name);
}

/** Our own files, written whole: nothing but their absence needs care. */
async function readJson<Content>(file: string): Promise<Content | undefined> {
  try {
    const content: Content = JSON.parse(await readFile(file, 'utf8'));
    return content;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
