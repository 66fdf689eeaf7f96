import { sql } from 'kysely';
import type { AnyTx, Database, WakeUps } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';

const CHANNEL = 'auth:revocations';
/** Hints can be lost; this is the longest that a revocation then takes to arrive. */
const POLL_MILLISECONDS = 15_000;

/**
 * Credentials that are not good any more: one token (`jti`), everything that an issuer gives to a subject (`sub`), signs
 * with a key (`kid`), or has issued before a moment (`epoch`, seconds since 1970).
 */
export interface Revocation {
  readonly issuer: string;
  readonly kind: 'token' | 'subject' | 'key' | 'epoch';
  readonly value: string;
  /** When no token can be alive that this is about. */
  readonly expiresAt: Date;
}

/** What of a token a revocation can be about. */
export interface RevocableToken {
  readonly issuer: string;
  readonly subject: string;
  readonly jti: string | undefined;
  readonly keyId: string | undefined;
  /** Seconds since 1970. */
  readonly issuedAt: number;
}

/** Revocations of all issuers of this installation, in memory; current within a second (brief alise-aai 3.1 step 8). */
export interface Revocations {
  /** Waits for the list only before it was read for the first time. */
  isRevoked(token: RevocableToken): boolean | Promise<boolean>;
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
  let current: Revoked | undefined;
  let reading: Promise<Revoked> | undefined;
  let readAgain = false;

  /** One reading at a time; a hint during one leads to another. */
  function read(): Promise<Revoked> {
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
    isRevoked: (token) =>
      current === undefined ? read().then((found) => holds(found, token)) : holds(current, token),
    close() {
      clearInterval(timer);
      unsubscribe();
    },
  };
}

interface Revoked {
  readonly credentials: ReadonlySet<string>;
  /** Seconds since 1970 by issuer. */
  readonly epochs: ReadonlyMap<string, number>;
}

function holds({ credentials, epochs }: Revoked, token: RevocableToken): boolean {
  const { issuer, subject, jti, keyId, issuedAt } = token;
  if (epochs.size > 0 && issuedAt < (epochs.get(issuer) ?? 0)) return true;
  if (credentials.size === 0) return false;
  return (
    credentials.has(keyOf(issuer, 'subject', subject)) ||
    (jti !== undefined && credentials.has(keyOf(issuer, 'token', jti))) ||
    (keyId !== undefined && credentials.has(keyOf(issuer, 'key', keyId)))
  );
}

/** The longest that anything lives which was made with a token: app passwords of a storage, a year. */
const LONGEST_LIFE_DAYS = 400;

/** Until when a revocation must be kept that is about all that somebody has, or that a key has signed. */
export function outlivesEverything(from: Date = new Date()): Date {
  return new Date(from.getTime() + LONGEST_LIFE_DAYS * 86_400_000);
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

async function readRevocations(database: Database): Promise<Revoked> {
  const { rows } = await sql<{ issuer: string; kind: Revocation['kind']; value: string }>`
    select issuer, kind, value from kernel.revocations where expires_at > now()`.execute(database.sql);
  const epochs = new Map<string, number>();
  const credentials = new Set<string>();
  for (const { issuer, kind, value } of rows) {
    if (kind === 'epoch') epochs.set(issuer, Math.max(Number(value), epochs.get(issuer) ?? 0));
    else credentials.add(keyOf(issuer, kind, value));
  }
  return { credentials, epochs };
}

function keyOf(issuer: string, kind: Revocation['kind'], value: string): string {
  return `${kind} ${issuer} ${value}`;
}
