import { chmod, chown, writeFile } from 'node:fs/promises';
import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import type { SiteConfig } from '../config.ts';
import type { Account } from '../shim/job-file.ts';
import type { BackEnd } from './back-end.ts';
import { chooseConfinement } from './confinement/choose.ts';
import { ensureRuntime } from './runtime.ts';
import { sandbox } from './sandbox/sandbox.ts';
import { slurmAnswers } from './slurm/commands.ts';
import { slurm } from './slurm/slurm.ts';

export interface OpenBackEndOptions {
  site: SiteConfig;
  account: Account | undefined;
  workFolder: string;
  /** Where the copy of Node.js and the shim go. */
  runtimeFolder: string;
  noticeFile: string;
  log: Logger;
}

/**
 * The best back end that a site has: Slurm if it answers, else the sandbox.
 *
 * @throws {ExitError} 78 when what the configuration asks for does not work.
 */
export async function openBackEnd(options: OpenBackEndOptions): Promise<BackEnd> {
  const { site, account, log } = options;
  await writeFile(options.noticeFile, '', { flag: 'a' });
  await chmod(options.noticeFile, 0o644);
  if (account) await chown(options.noticeFile, account.uid, account.gid);
  if (site.backend === 'slurm') return openSlurm(options);
  if (site.backend === 'auto' && (await slurmAnswers())) {
    try {
      return await openSlurm(options);
    } catch (error) {
      log.warn({ reason: describeError(error) }, 'Slurm answers but cannot run our jobs: the sandbox does');
    }
  }
  return openSandbox(options);
}

async function openSlurm(options: OpenBackEndOptions): Promise<BackEnd> {
  const { site, account, noticeFile } = options;
  const { runtime, confinement } = await prepare(options, true);
  return slurm({ confinement, runtime, network: site.network, noticeFile, account });
}

async function openSandbox(options: OpenBackEndOptions): Promise<BackEnd> {
  const { site, noticeFile } = options;
  const { runtime, confinement } = await prepare(options, false);
  return sandbox({ confinement, runtime, network: site.network, noticeFile });
}

async function prepare(
  { site, account, workFolder, runtimeFolder, log }: OpenBackEndOptions,
  shimIsAccount: boolean,
) {
  const runtime = await ensureRuntime(runtimeFolder);
  const confinement = await chooseConfinement({
    wanted: site.confinement,
    account,
    shimIsAccount,
    pod: { nodeBinary: runtime.nodeBinary, network: site.network },
    workFolder,
    log,
  });
  return { runtime, confinement };
}
