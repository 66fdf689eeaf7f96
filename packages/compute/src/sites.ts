import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ComponentContext } from '@weft/kernel/component';
import { ensureJobAccount } from './backends/account.ts';
import type { BackEnd } from './backends/back-end.ts';
import { openBackEnd } from './backends/open-back-end.ts';
import type { ComputeConfig, SiteConfig } from './config.ts';
import type { Account } from './shim/job-file.ts';

export type ComputeContext = ComponentContext<ComputeConfig>;

/** A site with what runs its jobs. */
export interface Site {
  readonly config: SiteConfig;
  readonly backEnd: BackEnd;
  /** That jobs run under; `undefined` when it is our own. */
  readonly account: Account | undefined;
  /** Folders of jobs lie here: `jobs/<uid>-<attempt>`. */
  readonly workFolder: string;
  /** Touched by shims when something has changed. */
  readonly noticeFile: string;
}

const opened = new WeakMap<ComputeContext, Promise<ReadonlyMap<string, Site>>>();

/** The sites of the configuration by name; opened once per process. */
export function openSites(context: ComputeContext): Promise<ReadonlyMap<string, Site>> {
  let sites = opened.get(context);
  if (sites === undefined) {
    sites = openAll(context);
    opened.set(context, sites);
  }
  return sites;
}

async function openAll(context: ComputeContext): Promise<ReadonlyMap<string, Site>> {
  const sites = new Map<string, Site>();
  // One after the other: they may make the same account and copy the same runtime.
  for (const config of context.config.sites) sites.set(config.name, await openSite(context, config));
  return sites;
}

async function openSite(context: ComputeContext, config: SiteConfig): Promise<Site> {
  const workFolder = config.work_folder ?? join(context.dataFolder, config.name);
  await mkdir(join(workFolder, 'jobs'), { recursive: true, mode: 0o711 });
  const account = await ensureJobAccount(config.account);
  if (config.scratch) {
    await mkdir(config.scratch.folder, { recursive: true, mode: 0o770 });
    if (account) await chown(config.scratch.folder, account.uid, account.gid);
  }
  const log = context.log.child({ site: config.name });
  const noticeFile = join(workFolder, 'notice');
  const runtimeFolder = config.work_folder ?? context.dataFolder;
  const backEnd = await openBackEnd({ site: config, account, workFolder, runtimeFolder, noticeFile, log });
  const { confinement } = await backEnd.fingerprint();
  log.info({ backEnd: backEnd.name, confinement }, 'site opened');
  return { config, backEnd, account, workFolder, noticeFile };
}

/** Where an attempt's files lie. */
export function jobFolder(site: Site, uid: string, attempt: number): string {
  return join(site.workFolder, 'jobs', `${uid}-${attempt}`);
}
