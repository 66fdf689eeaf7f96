import { userInfo } from 'node:os';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { explainAccess, printScope } from '../core/access/explain-access.ts';
import { hasCapabilities, matchesRule } from '../core/access/match-principal.ts';
import type { Caller } from '../core/caller.ts';
import { type Door, doorOf } from '../core/door.ts';
import { nameGroups } from '../core/local-users/accounts.ts';
import { encodePath, parseResourcePath, type Segments } from '../core/resource-path.ts';
import { copyAnswer, whoamiAnswer, workerAnswer } from '../service-answers.ts';
import { identify } from './identify.ts';

const TAGS = ['service'];

/** `/.weft/api/v1/whoami`, `/transfers` and `/workers` (brief teapot 2.9). */
export function registerServiceEndpoints(app: FastifyInstance, door: Door): void {
  const base = '/.weft/api/v1';
  const known = (request: FastifyRequest) => requireCredential(door, request);

  app.get(
    `${base}/whoami`,
    describe('Who I am here, and with ?path= what I may do there and why', whoamiAnswer),
    async (request) => whoami(door, await known(request), pathOf(request)),
  );

  app.get(
    `${base}/transfers`,
    describe(
      'My third-party copies that are running; those of everybody for administrators',
      z.array(copyAnswer),
    ),
    async (request) => {
      const caller = await known(request);
      const copies = await door.copies.list(isAdministrator(door, caller) ? undefined : caller);
      return copies.map(({ startedAt, account, ...copy }) => ({
        ...copy,
        account: account || null,
        started_at: startedAt.toISOString(),
      }));
    },
  );
  app.delete<{ Params: { id: string } }>(`${base}/transfers/:id`, async (request, reply) => {
    const caller = await known(request);
    const owner = isAdministrator(door, caller) ? undefined : caller;
    if (!(await door.copies.cancel(request.params.id, caller, owner)))
      throw new WeftError('not-found', 'transfer-not-found', 'You have no such transfer running.');
    return reply.code(202).send();
  });

  app.get(
    `${base}/workers`,
    describe('Processes of local users, for administrators', z.array(workerAnswer)),
    async (request) => {
      const workers = requireWorkers(door, await known(request));
      return (await workers.list()).map(({ memoryBytes, startedAt, usedAt, ...worker }) => ({
        ...worker,
        memory_bytes: memoryBytes ?? null,
        started_at: startedAt.toISOString(),
        used_at: usedAt.toISOString(),
      }));
    },
  );
  app.delete<{ Params: { account: string } }>(`${base}/workers/:account`, async (request, reply) => {
    const workers = requireWorkers(door, await known(request));
    return stopWorkers(workers, request, reply);
  });
}

function describe(summary: string, schema: z.ZodType) {
  return {
    config: { describe: { summary, tags: TAGS, answers: { 200: { description: summary, schema } } } },
  };
}

/** Whoever may come in without a credential has nothing to ask here. */
async function requireCredential(door: Door, request: FastifyRequest): Promise<Caller> {
  const caller = await identify(door, request);
  if (!caller.anonymous) return caller;
  throw new WeftError('unauthenticated', 'missing_token', 'A bearer token is needed.');
}

function isAdministrator({ config }: Door, caller: Caller): boolean {
  // What somebody has handed on is for files.
  if (caller.macaroon || caller.kind === 'api-key') return false;
  return config.administrators.some((rule) => matchesRule(rule, caller));
}

function requireWorkers(door: Door, caller: Caller) {
  if (!isAdministrator(door, caller))
    throw new WeftError('forbidden', 'not-administrator', 'This is for administrators of the storage.');
  if (door.multiUser) return door.multiUser.workers;
  throw new WeftError('not-found', 'single-user', 'One account does everything here: there are no workers.');
}

async function stopWorkers(
  workers: ReturnType<typeof requireWorkers>,
  request: FastifyRequest<{ Params: { account: string } }>,
  reply: FastifyReply,
) {
  const { account } = request.params;
  const how = new URLSearchParams(request.url.split('?')[1]).get('now') === 'true' ? 'kill' : 'drain';
  const stopping = await workers.stop(account, how);
  if (stopping > 0) return reply.code(202).send({ stopping });
  throw new WeftError('not-found', 'worker-not-found', `No worker runs for ${account}.`);
}

/** The path that is asked about, as it stands in a URL. */
function pathOf(request: FastifyRequest): Segments | undefined {
  const path = new URLSearchParams(request.url.split('?')[1]).get('path');
  if (path === null) return undefined;
  if (!path.startsWith('/')) throw new WeftError('invalid', 'invalid-path', 'path must begin with a slash.');
  return parseResourcePath(path.split('/').map(encodeURIComponent).join('/')).segments;
}

interface PrintedAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly { readonly gid: number; readonly name: string | null }[];
}

async function whoami(door: Door, caller: Caller, path: Segments | undefined) {
  const { bounds } = caller;
  const finish = async (own: Door | undefined, account: PrintedAccount | null, refusal: string | null) => {
    const seen = own?.account !== undefined && caller.access ? { ...caller, account: own.account } : caller;
    const explained =
      path && (await explainAccess(door, own && account ? { door: own, account } : undefined, seen, path));
    return {
      issuer: caller.issuer,
      subject: caller.subject,
      kind: caller.macaroon ? 'macaroon' : caller.kind,
      client_id: caller.clientId ?? null,
      expires_at: caller.expiresAt.getTime() < 8.64e15 ? caller.expiresAt.toISOString() : null,
      groups: [...caller.groups],
      entitlements: [...caller.entitlements],
      groups_count: !hasCapabilities(caller),
      scopes: caller.pathScopes.map(printScope),
      macaroon: bounds
        ? {
            path: encodePath(bounds.path),
            activities: [...bounds.activities],
            max_upload: bounds.maximumUploadBytes ?? null,
          }
        : null,
      administrator: isAdministrator(door, caller),
      account,
      account_refusal: refusal,
      ...(explained
        ? { path: { ...explained, area: explained.area ?? null, owner: explained.owner ?? null } }
        : {}),
    };
  };

  const { multiUser } = door;
  if (!multiUser) {
    const { username, uid, gid } = userInfo();
    const groups = await nameGroups(process.getgroups?.() ?? []);
    return finish(door, { name: username, uid, gid, groups }, null);
  }
  try {
    // Asked first, so that a worker that does not start is told from an account that is not there.
    await multiUser.lookUp(caller);
  } catch (error) {
    return finish(undefined, null, describeError(error));
  }
  return multiUser.as(caller, async (user) => {
    const { name, uid, gid, groups } = user.account;
    return finish(doorOf(door, user), { name, uid, gid, groups: await nameGroups(groups) }, null);
  });
}
