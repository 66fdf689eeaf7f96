import { sql } from 'kysely';
import type { AnyTx, Database, WakeUps } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Principal } from './types.ts';

const CHANNEL = 'auth:revocations';
/** Hints can be lost; this is the longest that a revocation then takes to arrive. */
const POLL_MILLISECONDS = 15_000;

/** One credential that is not good any more: a token, or everything that its issuer gives to a subject. */
export interface Revocation {
  readonly issuer: string;
  readonly kind: 'token' | 'subject';
  readonly value: string;
  /** When no token can be alive that this is about. */
  readonly expiresAt: Date;
}

/** Revocations of all issuers of this installation, in memory; current within a second (brief alise-aai 3.1 step 8). */
export interface Revocations {
  /** Waits for the list only before it was read for the first time. */
  isRevoked(principal: Principal): boolean | Promise<boolean>;
  close(): void;
}

export function createRevocations({
  database,
  wakeUps,
  log,
}: {
  database: Database;
  wakeUps: WakeUps;
  log: Logger;
}): Revocations {
  let current: ReadonlySet<string> | undefined;
  let reading: Promise<ReadonlySet<string>> | undefined;
  let readAgain = false;

  /** One reading at a time; a hint during one leads to another. */
  function read(): Promise<ReadonlySet<string>> {
    readAgain = reading !== undefined;
    reading ??= readRevocations(database)
      .then((found) => {
        current = found;
        return found;
      })
      .finally(() => {
        reading = undefined;
        if (readAgain) refresh();
      });
    return reading;
  }

  function refresh(): void {
    read().catch((error: unknown) =>
      log.warn(
        { reason: describeError(error) },
        'revocations cannot be read now; the last ones stay in force',
      ),
    );
  }

  const unsubscribe = wakeUps.on(CHANNEL, refresh);
  const timer = setInterval(refresh, POLL_MILLISECONDS);
  timer.unref();

  return {
    isRevoked: (principal) =>
      current === undefined ? read().then((found) => holds(found, principal)) : holds(current, principal),
    close() {
      clearInterval(timer);
      unsubscribe();
    },
  };
}

function holds(revoked: ReadonlySet<string>, { issuer, jti, subject }: Principal): boolean {
  if (revoked.size === 0) return false;
  return (
    revoked.has(keyOf(issuer, 'subject', subject)) ||
    (jti !== undefined && revoked.has(keyOf(issuer, 'token', jti)))
  );
}

/** Revokes within a transaction; verifiers in every process know when it has committed. */
export async function revoke(tx: AnyTx, wakeUps: WakeUps, revocations: readonly Revocation[]): Promise<void> {
  for (const { issuer, kind, value, expiresAt } of revocations) {
    await sql`insert into kernel.revocations (issuer, kind, value, expires_at)
      values (${issuer}, ${kind}, ${value}, ${expiresAt})
      on conflict (issuer, kind, value) do update set expires_at = greatest(revocations.expires_at, excluded.expires_at)`.execute(
      tx,
    );
  }
  await sql`delete from kernel.revocations where expires_at < now()`.execute(tx);
  wakeUps.wake(tx, CHANNEL);
}

/** Takes a subject's revocation back; its tokens of before are good again until they end. */
export async function reinstateSubject(
  tx: AnyTx,
  wakeUps: WakeUps,
  issuer: string,
  subject: string,
): Promise<void> {
  await sql`delete from kernel.revocations where issuer = ${issuer} and kind = 'subject' and value = ${subject}`.execute(
    tx,
  );
  wakeUps.wake(tx, CHANNEL);
}

async function readRevocations(database: Database): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ issuer: string; kind: Revocation['kind']; value: string }>`
    select issuer, kind, value from kernel.revocations where expires_at > now()`.execute(database.sql);
  return new Set(rows.map(({ issuer, kind, value }) => keyOf(issuer, kind, value)));
}

function keyOf(issuer: string, kind: Revocation['kind'], value: string): string {
  return `${kind} ${issuer} ${value}`;
}
