import type { Principal } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { Expression, SqlBool } from 'kysely';
import type {
  Attempt,
  Deployment,
  LogLine,
  OrchestratorTables,
  Placement,
  Pod,
  Resource,
} from '../db/schema.ts';
import { isAdmin, isOwner, mayChange, mayRead } from './access.ts';
import type { Orchestra } from './orchestra.ts';
import { PHASES, type Phase } from './phases.ts';

export type Sort = { readonly by: 'created_at' | 'updated_at'; readonly direction: 'asc' | 'desc' };

export interface Page {
  readonly number: number;
  readonly size: number;
  readonly sort: Sort;
}

export interface DeploymentFilter {
  /** Whose; undefined: the caller's own, or everybody's of the issuer when an admin asks. */
  readonly createdBy: { readonly issuer: string; readonly subject: string } | undefined;
  readonly userGroup: string | undefined;
  readonly excludedStatus: readonly string[];
}

/** @throws {WeftError} `not-found` also for strangers, who learn nothing (brief 7) */
export async function readDeployment(
  orchestra: Orchestra,
  caller: Principal,
  id: string,
): Promise<Deployment> {
  const deployment = isUuid(id)
    ? await orchestra.database
        .withTables<OrchestratorTables>()
        .selectFrom('orchestrator.deployments')
        .selectAll()
        .where('id', '=', id)
        .executeTakeFirst()
    : undefined;
  if (deployment === undefined || !mayRead(caller, ownerOf(deployment), orchestra.config.admin_groups)) {
    throw new WeftError('not-found', 'deployment-not-found', `The deployment <${id}> doesn't exist`);
  }
  return deployment;
}

/** @throws {WeftError} `not-found` for strangers, `forbidden` for members of the group who are not the owner */
export async function readOwnDeployment(
  orchestra: Orchestra,
  caller: Principal,
  id: string,
): Promise<Deployment> {
  const deployment = await readDeployment(orchestra, caller, id);
  if (!mayChange(caller, ownerOf(deployment), orchestra.config.admin_groups)) {
    throw new WeftError('forbidden', 'not-owner', `Only the owner may do this with the deployment <${id}>`);
  }
  return deployment;
}

function ownerOf({ issuer, subject, user_group }: Deployment) {
  return { issuer, subject, userGroup: user_group };
}

/** One page of the deployments that the caller may see, and how many there are. */
export async function listDeployments(
  { database, config }: Orchestra,
  caller: Principal,
  filter: DeploymentFilter,
  page: Page,
): Promise<{ deployments: Deployment[]; total: number }> {
  const admin = isAdmin(caller, config.admin_groups);
  if (filter.createdBy !== undefined && !admin && !isOwner(caller, { ...filter.createdBy, userGroup: '' })) {
    throw new WeftError('forbidden', 'not-admin', "Only admins may list other users' deployments.");
  }
  const owner = filter.createdBy ?? (admin ? undefined : { issuer: caller.issuer, subject: caller.subject });
  const hidden = (Object.keys(PHASES) as Phase[]).filter((phase) =>
    filter.excludedStatus.includes(PHASES[phase].status),
  );
  const matching = database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.deployments')
    .where((row) => {
      const conditions: Expression<SqlBool>[] = [row('issuer', '=', owner?.issuer ?? caller.issuer)];
      if (owner !== undefined) conditions.push(row('subject', '=', owner.subject));
      if (filter.userGroup !== undefined) conditions.push(row('user_group', '=', filter.userGroup));
      if (hidden.length > 0) conditions.push(row('phase', 'not in', hidden));
      return row.and(conditions);
    });
  const [deployments, count] = await Promise.all([
    matching
      .selectAll()
      .orderBy(page.sort.by, page.sort.direction)
      .orderBy('id')
      .limit(page.size)
      .offset(page.number * page.size)
      .execute(),
    matching.select((row) => row.fn.countAll<string>().as('total')).executeTakeFirstOrThrow(),
  ]);
  return { deployments, total: Number(count.total) };
}

export async function resourcesOf({ database }: Orchestra, deploymentId: string): Promise<Resource[]> {
  return await database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.resources')
    .selectAll()
    .where('deployment_id', '=', deploymentId)
    .orderBy('position')
    .execute();
}

export async function logOf({ database }: Orchestra, deploymentId: string): Promise<LogLine[]> {
  return await database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.log')
    .selectAll()
    .where('deployment_id', '=', deploymentId)
    .orderBy('id')
    .execute();
}

/** The choices of a deployment, the attempts that followed from them, and their pods. */
export async function placementsOf(
  { database }: Orchestra,
  deploymentId: string,
): Promise<{ placements: Placement[]; attempts: Attempt[]; pods: Pod[] }> {
  const tables = database.withTables<OrchestratorTables>();
  const [placements, attempts, pods] = await Promise.all([
    tables
      .selectFrom('orchestrator.placements')
      .selectAll()
      .where('deployment_id', '=', deploymentId)
      .orderBy('number')
      .execute(),
    tables
      .selectFrom('orchestrator.attempts')
      .selectAll()
      .where('deployment_id', '=', deploymentId)
      .orderBy('number')
      .execute(),
    tables
      .selectFrom('orchestrator.pods')
      .selectAll()
      .where('deployment_id', '=', deploymentId)
      .orderBy('attempt')
      .execute(),
  ]);
  return { placements, attempts, pods };
}

function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}
