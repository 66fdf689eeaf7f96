import { randomBytes } from 'node:crypto';
import { Secret, type SecretBox } from '@weft/kernel/config';
import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';

/** The root keys of one instance. They lie in PostgreSQL, encrypted, so that all its processes share them. */
export interface MacaroonKeys {
  /** The key that new macaroons are signed with; another one from time to time. */
  current(): Promise<RootKey>;
  /** A key by the id that stands in a macaroon; nothing when there is no such key, or none any more. */
  find(id: string): Promise<RootKey | undefined>;
}

export interface RootKey {
  readonly id: string;
  readonly bytes: Buffer;
}

const KEY_BYTES = 32;

/** How long what was read is believed: others may have made a newer key meanwhile. */
const CURRENT_MILLISECONDS = 60_000;

/**
 * Keys that are replaced after `rotationSeconds`. An old one goes on verifying for `lifetimeSeconds`, the longest life of a
 * macaroon, and is then deleted: nothing that it has signed can be alive.
 */
export function createMacaroonKeys(
  database: Database,
  secrets: SecretBox,
  instance: string,
  { rotationSeconds, lifetimeSeconds }: { rotationSeconds: number; lifetimeSeconds: number },
): MacaroonKeys {
  const known = new Map<string, RootKey>();
  let newest: { key: RootKey; readAt: number } | undefined;

  function open(id: string, sealed: Buffer): RootKey {
    const bytes = Buffer.from(secrets.open(sealed, contextOf(instance, id)).reveal(), 'base64url');
    const key = { id, bytes };
    known.set(id, key);
    return key;
  }

  /** Makes a key unless there is one that is young enough; of several processes at once, one makes it. */
  async function readCurrent(): Promise<RootKey> {
    return await database.transaction(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${`storage.macaroon-keys:${instance}`}, 0))`.execute(
        tx,
      );
      const { rows } = await sql<{ id: string; sealed: Buffer }>`
        select id, sealed from storage.macaroon_keys
        where instance = ${instance} and created_at > now() - make_interval(secs => ${rotationSeconds})
        order by created_at desc limit 1`.execute(tx);
      const [row] = rows;
      if (row) return known.get(row.id) ?? open(row.id, row.sealed);
      const id = randomBytes(6).toString('hex');
      const secret = new Secret(randomBytes(KEY_BYTES).toString('base64url'));
      const sealed = secrets.seal(secret, contextOf(instance, id));
      await sql`insert into storage.macaroon_keys (instance, id, sealed)
        values (${instance}, ${id}, ${sealed})`.execute(tx);
      await sql`delete from storage.macaroon_keys where instance = ${instance}
        and created_at < now() - make_interval(secs => ${rotationSeconds + lifetimeSeconds})`.execute(tx);
      known.clear();
      return open(id, sealed);
    });
  }

  return {
    async current() {
      if (newest && Date.now() - newest.readAt < CURRENT_MILLISECONDS) return newest.key;
      const key = await readCurrent();
      newest = { key, readAt: Date.now() };
      return key;
    },
    async find(id) {
      const remembered = known.get(id);
      if (remembered) return remembered;
      const { rows } = await sql<{ sealed: Buffer }>`
        select sealed from storage.macaroon_keys
        where instance = ${instance} and id = ${id}`.execute(database.sql);
      const [row] = rows;
      return row && open(id, row.sealed);
    },
  };
}

function contextOf(instance: string, id: string): string {
  return `storage.macaroon-key ${instance} ${id}`;
}
