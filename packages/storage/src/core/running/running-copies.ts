import { randomUUID } from 'node:crypto';
import type { Database, WakeUps } from '@weft/kernel/database';
import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import { sql } from 'kysely';
import type { StorageTables } from '../../db/schema.ts';
import { stagingName } from '../files/staging.ts';
import { GONE_SECONDS, REPORT_MILLISECONDS } from './seen.ts';

/** A third-party copy, as it is begun. */
export interface BegunCopy {
  readonly issuer: string;
  readonly subject: string;
  /** Local account, in multi-user mode; else empty. */
  readonly account: string;
  readonly direction: 'pull' | 'push';
  readonly path: string;
  /** The other side, without query: tokens may stand there. */
  readonly remote: string;
}

export interface RunningCopy extends BegunCopy {
  readonly id: string;
  readonly bytes: number;
  readonly startedAt: Date;
}

export type CopyOwner = Pick<RunningCopy, 'issuer' | 'subject'>;

/** The third-party copies of all processes of an instance. */
export interface RunningCopies {
  /** `bytes` and `cancel` are of the copy itself, in this process. */
  begin(
    copy: BegunCopy,
    handle: { bytes: () => number; cancel: (by: string) => void },
  ): Promise<{ readonly id: string; end(): Promise<void> }>;
  /** Oldest first; without an owner everybody's. */
  list(owner?: CopyOwner): Promise<RunningCopy[]>;
  /** Asks the process that runs it to end it. @returns whether there is such a copy, of that owner if one is given. */
  cancel(id: string, by: CopyOwner, owner?: CopyOwner): Promise<boolean>;
  close(): void;
}

interface Own extends BegunCopy {
  readonly startedAt: Date;
  readonly bytes: () => number;
  readonly cancel: (by: string) => void;
}

export function createRunningCopies(options: {
  database: Database;
  wakeUps: WakeUps;
  instance: string;
  log: Logger;
}): RunningCopies {
  const { database, wakeUps, instance, log } = options;
  const tables = database.withTables<StorageTables>();
  const channel = `storage.copies:${instance}`;
  const process = stagingName();
  const own = new Map<string, Own>();

  /** One statement for all of this process; learns which of them are to end. */
  async function report(ids: readonly string[]): Promise<void> {
    const rows = ids.flatMap((id) => {
      const { bytes, cancel: _, startedAt, ...copy } = own.get(id) ?? {};
      return bytes === undefined || startedAt === undefined
        ? []
        : [{ ...copy, id, bytes: bytes(), started_at: startedAt.toISOString() }];
    });
    if (rows.length === 0) return;
    const { rows: written } = await sql<{ id: string; cancelled_by: string | null }>`
      with gone as (
        delete from storage.running_copies
        where instance = ${instance} and seen_at < now() - make_interval(secs => ${GONE_SECONDS})
          and process <> ${process}
      )
      insert into storage.running_copies
        (instance, process, id, issuer, subject, account, direction, path, remote, bytes, started_at)
      select ${instance}, ${process}, * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as copy (
        id uuid, issuer text, subject text, account text, direction text, path text, remote text, bytes bigint,
        started_at timestamptz
      )
      on conflict (instance, id) do update set bytes = excluded.bytes, seen_at = now()
      returning id::text, cancelled_by`.execute(database.sql);
    const ended = written.filter(({ id }) => !own.has(id)).map(({ id }) => id);
    if (ended.length > 0) await forget(ended);
    for (const { id, cancelled_by: by } of written) if (by !== null) own.get(id)?.cancel(by);
  }

  async function forget(ids: readonly string[]): Promise<void> {
    await tables
      .deleteFrom('storage.running_copies')
      .where('instance', '=', instance)
      .where('id', 'in', [...ids])
      .execute();
  }

  /** What cannot be written down now is so next time. */
  const reportAll = () =>
    report([...own.keys()]).catch((error: unknown) =>
      log.warn({ error: describeError(error) }, 'running copies cannot be written down'),
    );

  const timer = setInterval(() => void reportAll(), REPORT_MILLISECONDS);
  timer.unref();
  const stopListening = wakeUps.on(channel, () => void reportAll());

  return {
    async begin(copy, handle) {
      const id = randomUUID();
      own.set(id, { ...copy, ...handle, startedAt: new Date() });
      await report([id]).catch((error: unknown) => {
        own.delete(id);
        throw error;
      });
      return {
        id,
        async end() {
          own.delete(id);
          await forget([id]).catch((error: unknown) =>
            log.warn({ error: describeError(error) }, 'a copy that has ended stays in the list for a while'),
          );
        },
      };
    },
    async list(owner) {
      const rows = await tables
        .selectFrom('storage.running_copies')
        .select(['id', 'issuer', 'subject', 'account', 'direction', 'path', 'remote', 'bytes', 'started_at'])
        .where('instance', '=', instance)
        .where('seen_at', '>', sql<Date>`now() - make_interval(secs => ${GONE_SECONDS})`)
        .$if(owner !== undefined, (query) =>
          query.where('issuer', '=', owner?.issuer ?? '').where('subject', '=', owner?.subject ?? ''),
        )
        .orderBy('started_at')
        .execute();
      return rows.map(({ started_at, bytes, ...row }) => ({
        ...row,
        bytes: own.get(row.id)?.bytes() ?? Number(bytes),
        startedAt: started_at,
      }));
    },
    async cancel(id, by, owner) {
      const result = await tables
        .updateTable('storage.running_copies')
        .set({ cancelled_by: `${by.issuer} ${by.subject}` })
        .where('instance', '=', instance)
        .where(sql<string>`id::text`, '=', id)
        .$if(owner !== undefined, (query) =>
          query.where('issuer', '=', owner?.issuer ?? '').where('subject', '=', owner?.subject ?? ''),
        )
        .executeTakeFirst();
      if (result.numUpdatedRows === 0n) return false;
      wakeUps.wakeNow(channel);
      return true;
    },
    close() {
      clearInterval(timer);
      stopListening();
    },
  };
}
