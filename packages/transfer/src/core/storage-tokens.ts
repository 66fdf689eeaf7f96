import type { Secret, SecretBox } from '@weft/kernel/config';
import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import { shortHash } from './identifiers.ts';

/** Id under which a token is kept, each distinct token once (brief fts 2.4). */
export function tokenId(token: Secret): string {
  return shortHash(token.reveal());
}

function sealContext(id: string): string {
  return `transfer.tokens:${id}`;
}

/** What a token says about itself; nothing here is verified, the storage does that. Opaque tokens say nothing. */
interface TokenFacts {
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly expiresAt: Date | null;
}

export function tokenFacts(token: Secret): TokenFacts {
  const nothing = { issuer: null, subject: null, expiresAt: null };
  const [, payload, signature] = token.reveal().split('.');
  if (payload === undefined || signature === undefined) return nothing;
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  } catch {
    return nothing;
  }
  if (typeof claims !== 'object' || claims === null) return nothing;
  const { iss, sub, exp } = { iss: undefined, sub: undefined, exp: undefined, ...claims } satisfies Record<
    string,
    unknown
  >;
  return {
    issuer: typeof iss === 'string' ? iss : null,
    subject: typeof sub === 'string' ? sub : null,
    expiresAt: typeof exp === 'number' && Math.abs(exp) < 1e11 ? new Date(exp * 1000) : null,
  };
}

/** @throws {WeftError} `invalid` when a token has already expired: the transfer could only fail. */
export function refuseExpired(token: Secret, surl: string, now: Date): void {
  const { expiresAt } = tokenFacts(token);
  if (expiresAt !== null && expiresAt <= now) {
    throw new WeftError(
      'invalid',
      'token-expired',
      `The storage token for ${surl} expired at ${expiresAt.toISOString()}.`,
    );
  }
}

/** Stores tokens encrypted; one that is known already stays as it is. */
export async function storeTokens(
  tx: Tx<TransferTables>,
  secrets: SecretBox,
  tokens: readonly Secret[],
): Promise<void> {
  const rows = [...new Map(tokens.map((token) => [tokenId(token), token]))].map(([id, token]) => {
    const { issuer, subject, expiresAt } = tokenFacts(token);
    return {
      token_id: id,
      sealed: secrets.seal(token, sealContext(id)),
      issuer,
      subject,
      expires_at: expiresAt,
    };
  });
  if (rows.length === 0) return;
  // Always in the same order, so that two submissions with the same tokens cannot wait for each other.
  rows.sort((a, b) => (a.token_id < b.token_id ? -1 : 1));
  await sql`
    insert into transfer.tokens (token_id, sealed, issuer, subject, expires_at)
    select * from unnest(${rows.map((row) => row.token_id)}::text[], ${rows.map((row) => row.sealed)}::bytea[],
      ${rows.map((row) => row.issuer)}::text[], ${rows.map((row) => row.subject)}::text[],
      ${rows.map((row) => row.expires_at)}::timestamptz[])
    on conflict (token_id) do nothing
  `.execute(tx);
}

export function openToken(secrets: SecretBox, id: string, sealed: Uint8Array): Secret {
  return secrets.open(sealed, sealContext(id));
}
