import { createHash, randomUUID } from 'node:crypto';
import type { Principal } from '@weft/kernel/auth';
import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { Deployment, OrchestratorTables } from '../db/schema.ts';
import {
  DATALAKE_SCOPES,
  type DelegationRequest,
  exchangeAll,
  groupScopes,
  SITE_SCOPES,
  stagingScopes,
  storeDelegations,
} from './delegations.ts';
import { chooseGroup, mayUse } from './groups.ts';
import type { Orchestra } from './orchestra.ts';
import { type DeploymentPlan, planDeployment } from './plan.ts';
import { addResources, announce, note, scheduleStep } from './records.ts';
import type { Json } from './tosca/index.ts';

/** A request for a deployment, read from the wire. */
export interface NewDeployment {
  readonly template: string;
  readonly parameters: Readonly<Record<string, Json>>;
  readonly userGroup: string | undefined;
  readonly callback: string | undefined;
  readonly timeoutMinutes: number | undefined;
  readonly providerTimeoutMinutes: number | undefined;
  readonly maximumProviders: number | undefined;
  readonly keepLastAttempt: boolean;
  /** The same key of the same caller names the same deployment. */
  readonly idempotencyKey: string | undefined;
}

/**
 * Accepts a deployment: checks the template with its inputs, takes the user's authority for what will be called later, and
 * starts the workflow. When this returns, the deployment survives a crash.
 *
 * @throws {WeftError} `invalid` (template, inputs, group), `forbidden` (group), `conflict` (idempotency key of another
 *   request), `unavailable` (issuer)
 */
export async function createDeployment(
  orchestra: Orchestra,
  caller: Principal,
  subjectToken: string,
  request: NewDeployment,
): Promise<Deployment> {
  const digest = digestOf(request);
  const earlier = await findEarlier(orchestra, caller, request, digest);
  if (earlier !== undefined) return earlier;

  const group = chooseGroup(caller.groups, request.userGroup, orchestra.config.default_group);
  const plan = planDeployment(request.template, request.parameters);
  const siteScopes = [
    ...SITE_SCOPES,
    ...groupScopes(caller),
    ...(needsData(plan) ? stagingScopes(caller) : []),
  ];
  const delegations = await exchangeAll(
    orchestra,
    subjectToken,
    authorityFor(orchestra, plan, group, siteScopes),
  );
  const id = randomUUID();
  const now = new Date();
  const created = await orchestra.database.transaction(async (tx: Tx<OrchestratorTables>) => {
    const deployment = await tx
      .insertInto('orchestrator.deployments')
      .values({
        id,
        created_at: now,
        updated_at: now,
        issuer: caller.issuer,
        subject: caller.subject,
        user_group: group,
        template: request.template,
        parameters: JSON.stringify(request.parameters),
        plan: JSON.stringify(plan),
        phase: 'placing',
        callback: request.callback ?? null,
        maximum_providers: request.maximumProviders ?? null,
        keep_last_attempt: request.keepLastAttempt,
        timeout_at:
          request.timeoutMinutes === undefined
            ? null
            : new Date(now.getTime() + request.timeoutMinutes * 60_000),
        provider_timeout_minutes:
          request.providerTimeoutMinutes ?? orchestra.config.jobs.provider_timeout_minutes,
        idempotency_key: request.idempotencyKey ?? null,
        request_digest: digest,
      })
      // A request with the same key in the same moment: the other one has won.
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    if (deployment === undefined) return undefined;
    await addResources(tx, id, plan.nodes);
    await storeDelegations(tx, orchestra, id, delegations);
    await note(tx, orchestra, deployment, `accepted for the group ${group}: ${describePlan(plan)}`);
    await announce(tx, orchestra, deployment);
    await scheduleStep(tx, orchestra, id);
    return deployment;
  });
  const deployment = created ?? (await findEarlier(orchestra, caller, request, digest));
  if (deployment === undefined)
    throw new WeftError('conflict', 'conflict', 'The deployment was changed at the same time.');
  return deployment;
}

async function findEarlier(
  { database }: Orchestra,
  { issuer, subject }: Principal,
  { idempotencyKey }: NewDeployment,
  digest: Buffer,
): Promise<Deployment | undefined> {
  if (idempotencyKey === undefined) return undefined;
  const earlier = await database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.deployments')
    .selectAll()
    .where('issuer', '=', issuer)
    .where('subject', '=', subject)
    .where('idempotency_key', '=', idempotencyKey)
    .executeTakeFirst();
  if (earlier === undefined || earlier.request_digest.equals(digest)) return earlier;
  const message = `The Idempotency-Key "${idempotencyKey}" belongs to another request (deployment ${earlier.id}).`;
  throw new WeftError('conflict', 'idempotency-key-reused', message);
}

/** Tokens that the workflow may need: the datalake's, and that of every provider the group may use. */
export function authorityFor(
  { config }: Orchestra,
  plan: DeploymentPlan,
  group: string,
  siteScopes: readonly string[],
): DelegationRequest[] {
  const requests: DelegationRequest[] = [];
  if (needsData(plan) && config.datalake !== undefined) {
    requests.push({ audience: config.datalake.url, scopes: DATALAKE_SCOPES });
  }
  if (plan.jobs.length === 0) return requests;
  for (const provider of config.providers) {
    if (mayUse(group, provider.sla.groups)) requests.push({ audience: provider.url, scopes: siteScopes });
  }
  return requests;
}

function needsData(plan: DeploymentPlan): boolean {
  return plan.jobs.some((job) => job.inputs.length > 0 || job.outputs.length > 0);
}

function digestOf({ idempotencyKey: _key, ...request }: NewDeployment): Buffer {
  return createHash('sha256').update(JSON.stringify(request)).digest();
}

function describePlan({ jobs, nodes }: DeploymentPlan): string {
  return `${nodes.length} nodes, ${jobs.length === 1 ? '1 job' : `${jobs.length} jobs`}`;
}
