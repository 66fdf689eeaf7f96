import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Database, Tx, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import { announce, type FileOwner, fileEvent, jobEvent, QUEUE_CHANNEL } from './announce.ts';
import { deriveJobStates, lockJobs } from './derive-job-states.ts';
import { type FileRow, printFile, printJob } from './documents.ts';

/** A mover process as others can recognise it. */
export interface MoverIdentity {
  readonly moverId: string;
  readonly host: string;
  /** One boot of one machine, and one process table on it. */
  readonly machine: string;
  readonly pid: number;
  /** Start time of the process: a process number is used again, the pair is not. */
  readonly started: string;
}

export function thisMover(): MoverIdentity {
  return {
    moverId: randomUUID(),
    host: hostname(),
    machine: machineIdentity(),
    pid: process.pid,
    started: processStart(process.pid) ?? randomUUID(),
  };
}

/** Boot id and process table (containers have their own); random where the system does not tell, so nothing matches. */
function machineIdentity(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return randomUUID();
  }
}

/** Start of a process in clock ticks since boot (field 22 of proc(5) `stat`); undefined when it is gone or a zombie. */
export function processStart(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The name in parentheses may hold anything, so count from its end: state is the first field after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/** Makes the mover known and starts its lease. */
export async function registerMover(
  database: Database,
  mover: MoverIdentity,
  leaseSeconds: number,
): Promise<void> {
  await sql`
    insert into transfer.movers (mover_id, host, machine, pid, started, alive_until)
    values (${mover.moverId}, ${mover.host}, ${mover.machine}, ${mover.pid}, ${mover.started},
      now() + ${leaseSeconds} * interval '1 second')
  `.execute(database.sql);
}

/** Renews the lease. False when it was lost: another process has taken the files, so everything in hand must stop. */
export async function renewLease(
  database: Database,
  moverId: string,
  leaseSeconds: number,
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update transfer.movers set alive_until = now() + ${leaseSeconds} * interval '1 second' where mover_id = ${moverId}
  `.execute(database.sql);
  return numAffectedRows === 1n;
}

/** Which of these files are still this mover's to copy; the others were canceled. */
export async function stillMine(
  database: Database,
  moverId: string,
  fileIds: readonly number[],
): Promise<Set<number>> {
  const { rows } = await sql<{ file_id: number }>`
    select file_id from transfer.files
    where file_id = any(${[...fileIds]}::bigint[]) and mover_id = ${moverId} and file_state = 'ACTIVE'
  `.execute(database.sql);
  return new Set(rows.map((row) => Number(row.file_id)));
}

/** A file that has killed this many movers is failed rather than tried again. */
const MOST_INTERRUPTIONS = 5;

/**
 * Takes the files of dead movers back into the queue: those whose lease has ended, and at once those of processes of
 * this machine that no longer run. The attempt does not count as a retry; `destination_touched` stays, so that the next
 * mover knows that bytes at the destination may be ours. Returns how many files came back.
 */
export async function recoverFiles(database: Database, wakeUps: WakeUps, me: MoverIdentity): Promise<number> {
  const { rows: others } = await sql<{
    mover_id: string;
    machine: string;
    pid: number;
    started: string;
    expired: boolean;
  }>`
    select mover_id, machine, pid, started, alive_until < now() as expired from transfer.movers
    where mover_id <> ${me.moverId}
  `.execute(database.sql);
  const dead = others
    .filter(
      (other) => other.expired || (other.machine === me.machine && processStart(other.pid) !== other.started),
    )
    .map((other) => other.mover_id);
  if (dead.length === 0) return 0;
  return database.transaction<number, TransferTables>(async (tx) => {
    const files = await takeBack(tx, wakeUps, {
      moverIds: dead,
      except: [],
      graceSeconds: 0,
      interruptions: 1,
    });
    await forget(tx, dead);
    return files;
  });
}

/** A mover that stops in order leaves its files to the next one; that is no interruption. */
export async function retireMover(database: Database, wakeUps: WakeUps, moverId: string): Promise<void> {
  await database.transaction<void, TransferTables>(async (tx) => {
    await takeBack(tx, wakeUps, { moverIds: [moverId], except: [], graceSeconds: 0, interruptions: 0 });
    await forget(tx, [moverId]);
  });
}

/**
 * Gives back what a living mover holds without working on it: the safety net under every unexpected failure between a
 * claim and its end. Files that were claimed just now may not be known to the caller yet and are left alone.
 */
export async function giveBackForgotten(
  database: Database,
  wakeUps: WakeUps,
  moverId: string,
  inHand: readonly number[],
): Promise<number> {
  return database.transaction<number, TransferTables>((tx) =>
    takeBack(tx, wakeUps, { moverIds: [moverId], except: inHand, graceSeconds: 10, interruptions: 1 }),
  );
}

interface WhatToTake {
  readonly moverIds: readonly string[];
  readonly except: readonly number[];
  readonly graceSeconds: number;
  readonly interruptions: 0 | 1;
}

async function forget(tx: Tx<TransferTables>, moverIds: readonly string[]): Promise<void> {
  await sql`delete from transfer.movers where mover_id = any(${[...moverIds]}::uuid[])`.execute(tx);
}

async function takeBack(tx: Tx<TransferTables>, wakeUps: WakeUps, what: WhatToTake): Promise<number> {
  const taken = sql`f.mover_id = any(${[...what.moverIds]}::uuid[]) and not f.file_id = any(${[...what.except]}::bigint[])
    and coalesce(f.finish_time, f.start_time) <= now() - ${what.graceSeconds} * interval '1 second'`;
  const { rows: held } = await sql<{ job_id: string }>`
    select distinct f.job_id from transfer.files f where ${taken}
  `.execute(tx);
  if (held.length === 0) return 0;
  const jobIds = held.map(({ job_id }) => job_id);
  await lockJobs(tx, jobIds);
  const { rows: files } = await sql<FileRow & FileOwner>`
    update transfer.files f set
      mover_id = null,
      interruptions = f.interruptions + ${what.interruptions},
      file_state = case when f.file_state in ('FAILED','CANCELED') then f.file_state
        when f.interruptions >= ${MOST_INTERRUPTIONS} then 'FAILED' else 'SUBMITTED' end,
      finish_time = case when f.file_state in ('FAILED','CANCELED') then f.finish_time
        when f.interruptions >= ${MOST_INTERRUPTIONS} then now() end,
      start_time = case when f.file_state in ('FAILED','CANCELED') then f.start_time end,
      reason = case when f.file_state in ('FAILED','CANCELED') then f.reason
        when f.interruptions >= ${MOST_INTERRUPTIONS} then 'GENERAL_FAILURE [4] Every mover that took this file died' end,
      not_before = now()
    from transfer.jobs j
    where ${taken} and j.job_id = f.job_id
    returning f.*, j.user_dn, j.cred_id
  `.execute(tx);
  const jobs = await deriveJobStates(tx, jobIds);
  await announce(tx, wakeUps, [
    ...files
      .filter(({ file_state }) => file_state !== 'CANCELED')
      .map((file) => fileEvent('file.state', printFile(file), file)),
    ...jobs.map((job) => jobEvent(printJob(job))),
  ]);
  wakeUps.wake(tx, QUEUE_CHANNEL);
  return files.length;
}
