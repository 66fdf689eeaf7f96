import type { ExchangedToken, Principal } from '@weft/kernel/auth';
import { Secret } from '@weft/kernel/config';
import type { Tx } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { OrchestratorTables } from '../db/schema.ts';
import type { Orchestra } from './orchestra.ts';

/** One audience that a deployment will speak to for its user, with the least scopes that do. */
export interface DelegationRequest {
  readonly audience: string;
  readonly scopes: readonly string[];
}

export interface Delegation extends DelegationRequest {
  readonly granted: ExchangedToken | undefined;
  readonly refusal: string | undefined;
}

/** Longer than a request may take, so that a token does not end under way. */
const USABLE_SECONDS = 90;

export const DATALAKE_SCOPES = ['openid', 'profile'];
export const SITE_SCOPES = ['compute.read', 'compute.create', 'compute.cancel'];
export const CANCEL_SCOPES = ['compute.read', 'compute.cancel'];

/** The caller's groups go along where the caller's token has them: a site accounts a pod to its virtual organisation. */
export function groupScopes(caller: Principal): string[] {
  return [...caller.scopes].filter((scope) => scope.startsWith('wlcg.groups'));
}

/**
 * What a site needs beside, to stage a pod's data for its user: it exchanges the token once more, for the datalake and
 * for storages, and an exchange never widens.
 */
export function stagingScopes(caller: Principal): string[] {
  return [...DATALAKE_SCOPES, ...[...caller.scopes].filter((scope) => scope.startsWith('storage.'))];
}

/**
 * Exchanges the user's token for every audience at once (RFC 8693), each with `offline_access`, so that the deployment goes
 * on when that token has ended (docs/seams.md, "Who acts"). A refusal for one audience is kept: placement shows it.
 *
 * @throws {WeftError} `unavailable` when the issuer does not answer
 */
export async function exchangeAll(
  { tokens }: Pick<Orchestra, 'tokens'>,
  subjectToken: string,
  requests: readonly DelegationRequest[],
): Promise<Delegation[]> {
  return await Promise.all(
    requests.map(async (request) => {
      try {
        const scopes = [...request.scopes, 'offline_access'];
        const granted = await tokens.exchange(subjectToken, { audience: request.audience, scopes });
        return { ...request, granted, refusal: undefined };
      } catch (error) {
        if (error instanceof WeftError && error.kind === 'unavailable') throw error;
        return { ...request, granted: undefined, refusal: describeError(error) };
      }
    }),
  );
}

/** Keeps delegations with the deployment, encrypted; newer ones replace older ones, a refusal replaces nothing. */
export async function storeDelegations(
  tx: Tx<OrchestratorTables>,
  { secrets }: Pick<Orchestra, 'secrets'>,
  deploymentId: string,
  delegations: readonly Delegation[],
): Promise<void> {
  if (delegations.length === 0) return;
  const rows = delegations.map(({ audience, scopes, granted, refusal }) => {
    const context = contextOf(deploymentId, audience);
    const refresh = granted?.refreshToken;
    return {
      deployment_id: deploymentId,
      audience,
      // What was granted may be less than what was asked for; a refresh must not ask for more.
      scopes: [...(granted?.scopes ?? scopes)],
      access_token: granted === undefined ? null : secrets.seal(new Secret(granted.accessToken), context),
      expires_at: granted?.expiresAt ?? new Date(0),
      refresh_token: refresh === undefined ? null : secrets.seal(refresh, context),
      refusal: refusal ?? null,
    };
  });
  await tx
    .insertInto('orchestrator.delegations')
    .values(rows)
    .onConflict((conflict) =>
      conflict
        .columns(['deployment_id', 'audience'])
        .doUpdateSet((row) => ({
          scopes: row.ref('excluded.scopes'),
          access_token: row.ref('excluded.access_token'),
          expires_at: row.ref('excluded.expires_at'),
          refresh_token: row.ref('excluded.refresh_token'),
          refusal: row.ref('excluded.refusal'),
        }))
        .where((row) => row('excluded.access_token', 'is not', null)),
    )
    .execute();
}

/**
 * An access token of the deployment's user for one audience, renewed when it is about to end. The row stays locked while
 * the issuer is asked, because a refresh token that rotates may be redeemed only once.
 *
 * @throws {WeftError} `forbidden` when the user's authority was refused or is gone; `unavailable` when the issuer is
 */
export async function tokenOf(orchestra: Orchestra, deploymentId: string, audience: string): Promise<string> {
  const { database, secrets, tokens } = orchestra;
  const context = contextOf(deploymentId, audience);
  const soon = () => new Date(Date.now() + USABLE_SECONDS * 1000);
  const known = await database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.delegations')
    .select(['access_token', 'expires_at'])
    .where('deployment_id', '=', deploymentId)
    .where('audience', '=', audience)
    .executeTakeFirst();
  if (known?.access_token && known.expires_at > soon())
    return secrets.open(known.access_token, context).reveal();

  return await database.transaction(async (tx: Tx<OrchestratorTables>) => {
    const row = await tx
      .selectFrom('orchestrator.delegations')
      .selectAll()
      .where('deployment_id', '=', deploymentId)
      .where('audience', '=', audience)
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined)
      throw new WeftError('forbidden', 'no-delegation', `No authority of the user for ${audience}.`);
    if (row.refusal !== null) throw new WeftError('forbidden', 'delegation-refused', row.refusal);
    if (row.access_token !== null && row.expires_at > soon())
      return secrets.open(row.access_token, context).reveal();
    if (row.refresh_token === null) {
      if (row.access_token !== null && row.expires_at > new Date())
        return secrets.open(row.access_token, context).reveal();
      const mend = 'send a token with offline_access, so that the deployment can go on without it';
      throw new WeftError(
        'forbidden',
        'delegation-ended',
        `The user's token for ${audience} has ended; mend: ${mend}.`,
      );
    }
    const renewed = await tokens.refresh(secrets.open(row.refresh_token, context), {
      audience,
      scopes: row.scopes,
    });
    await tx
      .updateTable('orchestrator.delegations')
      .set({
        access_token: secrets.seal(new Secret(renewed.accessToken), context),
        expires_at: renewed.expiresAt,
        ...(renewed.refreshToken === undefined
          ? {}
          : { refresh_token: secrets.seal(renewed.refreshToken, context) }),
      })
      .where('deployment_id', '=', deploymentId)
      .where('audience', '=', audience)
      .execute();
    return renewed.accessToken;
  });
}

/** Audiences for which the issuer refused a token, with its words. */
export async function refusedAudiences(
  orchestra: Orchestra,
  deploymentId: string,
): Promise<ReadonlyMap<string, string>> {
  const rows = await orchestra.database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.delegations')
    .select(['audience', 'refusal'])
    .where('deployment_id', '=', deploymentId)
    .where('refusal', 'is not', null)
    .execute();
  return new Map(rows.map((row) => [row.audience, row.refusal ?? '']));
}

function contextOf(deploymentId: string, audience: string): string {
  return `${deploymentId}/${audience}`;
}
