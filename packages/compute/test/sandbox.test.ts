import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@weft/kernel/telemetry';
import { ensureJobAccount } from '../src/backends/account.ts';
import { chooseConfinement } from '../src/backends/confinement/choose.ts';
import type { ConfinementName } from '../src/backends/confinement/confinement.ts';
import { findProgram } from '../src/backends/programs.ts';
import { ensureRuntime } from '../src/backends/runtime.ts';
import { sandbox } from '../src/backends/sandbox/sandbox.ts';
import { backEndContract } from './back-end-contract.ts';

const log = createLogger({ name: 'test', level: 'silent' });

async function startSandbox(wanted: ConfinementName) {
  const workFolder = await mkdtemp(join(tmpdir(), 'weft-sandbox-'));
  const account = await ensureJobAccount('weft-job');
  // Only confinement by mounting gets into a folder that the account may not enter.
  if (account && wanted === 'none') await chmod(workFolder, 0o711);
  const runtime = await ensureRuntime(workFolder);
  const pod = { nodeBinary: runtime.nodeBinary, network: 'host' } as const;
  const confinement = await chooseConfinement({ wanted, account, pod, workFolder, log });
  const make = () =>
    sandbox({ confinement, runtime, network: 'host', noticeFile: join(workFolder, 'notice') });
  return { backEnd: make(), restarted: async () => make(), workFolder, account };
}

if ((await findProgram('bwrap')) !== undefined) {
  backEndContract('sandbox with bubblewrap', () => startSandbox('bubblewrap'));
}
if ((await findProgram('unshare')) !== undefined) {
  backEndContract('sandbox with namespaces', () => startSandbox('namespaces'));
}
backEndContract('sandbox without confinement', () => startSandbox('none'));
