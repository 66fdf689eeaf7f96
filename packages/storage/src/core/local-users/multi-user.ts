import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { createAliseClient } from '@weft/identity/client';
import type { Principal } from '@weft/kernel/auth';
import type { ComponentContext } from '@weft/kernel/component';
import { describeError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { AreaConfig, MultiUserConfig, StorageConfig } from '../../config.ts';
import { type Area, type Areas, arrangeAreas, baseOf } from '../areas.ts';
import type { Caller } from '../caller.ts';
import { prepareSharedStaging } from '../files/staging.ts';
import { createRunningWorkers, type RunningWorkers } from '../running/running-workers.ts';
import { expandAccounts, poolMethod } from './account-pool.ts';
import { type Account, createAccounts } from './accounts.ts';
import { followLinks } from './follow-links.ts';
import {
  aliseMethod,
  claimMethod,
  createMapping,
  fileMethod,
  groupMethod,
  identityOf,
  type Mapping,
  type MappingMethod,
} from './mapping.ts';
import { remoteFiles } from './remote-files.ts';
import { createSweeper } from './sweeper.ts';
import type { WorkerLimits } from './worker-limits.ts';
import { createWorkerPool } from './worker-pool.ts';
import { prepareWorkers, startWorker } from './worker-process.ts';

/** Where requests meet the file system as the local user that their caller is mapped to. */
export interface MultiUser {
  /** Runs one request; the worker stays as long as `work` runs. */
  as<Result>(caller: Caller, work: (user: LocalUser) => Promise<Result>): Promise<Result>;
  /** The account of a caller, as `as` takes it; nothing is started. */
  lookUp(caller: Caller): Promise<Account>;
  /** The same without a caller: for what was left unfinished. */
  asAccount<Result>(name: string, work: (user: LocalUser) => Promise<Result>): Promise<Result>;
  /** Account of a caller who has been here, without asking anybody. */
  accountOf(principal: Principal): string | undefined;
  /** Of all processes that serve the instance. */
  readonly workers: RunningWorkers;
  close(): Promise<void>;
}

export interface LocalUser {
  readonly account: Account;
  readonly areas: Areas;
}

export async function createMultiUser(
  context: ComponentContext<StorageConfig>,
  rules: MultiUserConfig,
): Promise<MultiUser> {
  const { config, log } = context;
  for (const { root } of config.areas.filter(isShared)) {
    await mkdir(root, { recursive: true, mode: 0o755 });
    await prepareSharedStaging(root);
  }
  const accounts = createAccounts({
    minimumUid: rules.minimum_uid,
    denied: rules.denied_accounts,
    deniedShells: rules.denied_shells,
    allowedGroups: rules.allowed_groups,
  });
  const seen = new Map<string, string>();
  // Whose events a caller may see must not depend on which process answered their requests.
  const topic = `storage.seen ${config.site}`;
  context.siblings.answer(topic, (said) => {
    const { data } = seenSchema.safeParse(said);
    if (!data) return;
    if (seen.size >= MAXIMUM_SEEN) seen.clear();
    seen.set(data.identity, data.account);
  });
  const remember = ({ issuer, subject }: Principal, { name }: Account) => {
    const identity = identityOf(issuer, subject);
    if (seen.get(identity) === name) return;
    context.siblings
      .ask(topic, { identity, account: name })
      .catch((error: unknown) => log.warn({ error: describeError(error) }, 'a mapping was not passed on'));
  };

  const mapping = chain(context, rules);
  const followers = rules.mapping.flatMap((method) => {
    if (method.method !== 'alise') return [];
    const onChange = (issuer: string, subject: string, at: Date) => {
      mapping.forget(issuer, subject, at);
      seen.delete(identityOf(issuer, subject));
    };
    return [followLinks({ ...aliseOf(context, method), fetch: context.fetch, log, onChange })];
  });
  // Whoever comes first tries again, and is told.
  prepareWorkers().catch((error: unknown) =>
    log.error({ error: describeError(error) }, 'workers cannot be prepared'),
  );
  const pool = createWorkerPool({
    maximum: rules.maximum_workers,
    idleSeconds: rules.idle_seconds,
    maximumStarting: Math.ceil((2 * availableParallelism()) / context.siblings.count),
    log,
    start: async (account, settings) => {
      const worker = await startWorker(account, settings, limitsOf(rules));
      running.changed();
      return worker;
    },
    onEnded: (account) => sweeper.later(account.name),
    settingsOf: (account) => ({
      identity: { uid: account.uid, gid: account.gid, groups: account.groups },
      areas: config.areas.map((area) => ({
        name: area.name,
        root: rootOf(area, account),
        durability: area.durability,
        umask: area.umask,
      })),
    }),
  });
  const running = createRunningWorkers({
    database: context.database,
    wakeUps: context.wakeUps,
    instance: config.site,
    pool,
    log,
  });
  const workers = context.metrics.gauge('weft_storage_workers', 'Workers of local users', ['site', 'state']);
  const observe = () => {
    const { running: all, busy } = pool.count();
    workers.set({ site: config.site, state: 'busy' }, busy);
    workers.set({ site: config.site, state: 'idle' }, all - busy);
  };

  async function run<Result>(account: Account, work: (user: LocalUser) => Promise<Result>): Promise<Result> {
    try {
      return await pool.use(account, (worker) => {
        observe();
        const all = config.areas.map(
          (area): Area => ({
            // What is known about files is kept apart by account: a worker is believed about its own files only.
            name: `${area.name}@${account.name}`,
            base: baseOf(area),
            readOnly: area.read_only,
            config: area,
            account,
            files: remoteFiles(worker, area.name),
          }),
        );
        return work({ account, areas: arrangeAreas(all) });
      });
    } finally {
      observe();
    }
  }

  /** A worker sweeps an area when it is first asked for something in it. */
  const sweeper = createSweeper({
    log,
    orphaned: running.orphaned,
    sweep: async (name) =>
      run(await accounts.find(name), async ({ areas }) => {
        await Promise.allSettled(areas.all.map(({ files }) => files.stat([])));
      }),
  });

  async function lookUp(caller: Caller): Promise<Account> {
    const { anonymous_account: nobody } = rules;
    if (caller.anonymous && nobody !== undefined) return accounts.find(nobody);
    const account = await accounts.find(await mapping.accountOf(caller));
    remember(caller, account);
    return account;
  }

  return {
    as: async (caller, work) => run(await lookUp(caller), work),
    lookUp,
    workers: running,
    asAccount: async (name, work) => run(await accounts.find(name), work),
    accountOf: (principal) => seen.get(identityOf(principal.issuer, principal.subject)),
    async close() {
      await Promise.all(followers.map((follower) => follower.close()));
      sweeper.close();
      running.close();
      await pool.close();
    },
  };
}

const seenSchema = z.object({ identity: z.string(), account: z.string() });

/** How long a request may wait for the account-linking service. */
const ALISE_MILLISECONDS = 3_000;
const MAXIMUM_SEEN = 100_000;

/** Whether several accounts work below one root. */
function isShared({ root }: Pick<AreaConfig, 'root'>): boolean {
  return !/\{(username|uid|home)\}/.test(root);
}

export function limitsOf(rules: MultiUserConfig): WorkerLimits {
  return { memoryBytes: rules.worker_memory_bytes, cgroup: rules.worker_cgroup };
}

/** `{username}`, `{uid}` and `{home}` in an area's root. */
export function rootOf(area: Pick<AreaConfig, 'root'>, { name, uid, home }: Account): string {
  const values: Readonly<Record<string, string>> = { username: name, uid: String(uid), home };
  return area.root.replace(/\{(username|uid|home)\}/g, (_, key: string) => values[key] ?? '');
}

function chain(context: ComponentContext<StorageConfig>, rules: MultiUserConfig): Mapping {
  const linkUrl = context.config.identity?.url;
  return createMapping(
    rules.mapping.map((method) => toMethod(context, method)),
    { log: context.log, ...(linkUrl === undefined ? {} : { linkUrl }) },
  );
}

/** What account linking is asked with. */
export type AliseContext = Pick<ComponentContext<StorageConfig>, 'config' | 'tokens' | 'fetch'>;

type MethodConfig = MultiUserConfig['mapping'][number];

/** Where account linking is asked, about which site, with what. */
export function aliseOf(
  { config, tokens }: AliseContext,
  method: Extract<MethodConfig, { method: 'alise' }>,
) {
  const site = method.site ?? config.site;
  const url = method.url ?? config.identity?.url;
  if (url === undefined) throw new Error('storage: the mapping method alise needs a url, or identity.url.');
  const credential =
    method.api_key === undefined
      ? { token: () => tokens.own({ audience: url, scopes: [`alise.mapping:${site}`] }) }
      : { apiKey: method.api_key.reveal() };
  return { url, site, credential };
}

function toMethod(context: ComponentContext<StorageConfig>, method: MethodConfig): MappingMethod {
  switch (method.method) {
    case 'alise': {
      const { url, site, credential } = aliseOf(context, method);
      const client = createAliseClient({
        url,
        fetch: (input, init) => context.fetch(input, { ...init, timeoutMilliseconds: ALISE_MILLISECONDS }),
        credential,
      });
      return aliseMethod(
        async (issuer, subject) => (await client.findMapping(site, issuer, subject))?.internal.username,
      );
    }
    case 'file':
      return fileMethod(method.file, method.issuer);
    case 'group':
      return groupMethod(method.issuer, method.pairs);
    case 'pool':
      return poolMethod(context.database, context.config.site, {
        name: method.name,
        issuer: method.issuer,
        group: method.group,
        accounts: expandAccounts(method.accounts),
        recycleDays: method.recycle_days,
      });
    case 'claim':
      return claimMethod(method.issuer, method.claim, new RegExp(method.pattern));
  }
}
