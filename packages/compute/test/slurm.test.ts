import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@weft/kernel/telemetry';
import { describe, expect, test } from 'vitest';
import { ensureJobAccount } from '../src/backends/account.ts';
import { openBackEnd } from '../src/backends/open-back-end.ts';
import { slurmAnswers } from '../src/backends/slurm/commands.ts';
import { meaningOf, parseList } from '../src/backends/slurm/job-states.ts';
import { configSchema } from '../src/config.ts';
import { backEndContract } from './back-end-contract.ts';

const log = createLogger({ name: 'test', level: 'silent' });

async function startSlurm() {
  const workFolder = await mkdtemp(join(tmpdir(), 'weft-slurm-'));
  await chmod(workFolder, 0o711);
  const account = await ensureJobAccount('weft-job');
  const [site] = configSchema.parse({
    sites: [
      {
        name: 'hpc',
        node: 'vn',
        listen: { port: 3001 },
        url: 'https://127.0.0.1:3001',
        backend: 'slurm',
        workFolder,
      },
    ],
  }).sites;
  if (site === undefined) throw new Error('no site');
  const noticeFile = join(workFolder, 'notice');
  const make = () => openBackEnd({ site, account, workFolder, runtimeFolder: workFolder, noticeFile, log });
  return { backEnd: await make(), restarted: make, workFolder, account };
}

// A Slurm to test with is found through SLURM_CONF, as its own commands do.
if (await slurmAnswers()) backEndContract('slurm', startSlurm);

describe('what Slurm says', () => {
  test('only our jobs are read from its list, whatever others write into their comments', () => {
    expect(
      parseList(
        '17|PENDING|Priority|weft:t1\n18|RUNNING|None|(null)\n19_4|RUNNING|None|a|b\n20|FAILED|NonZeroExitCode|weft:t|2\n',
      ),
    ).toEqual([
      { jid: '17', state: 'PENDING', reason: 'Priority', token: 't1' },
      { jid: '20', state: 'FAILED', reason: 'NonZeroExitCode', token: 't|2' },
    ]);
  });

  test('each state means what the brief says; an unknown one is waited out', () => {
    expect(meaningOf('CONFIGURING')).toEqual({ kind: 'queued', reason: 'Configuring' });
    expect(meaningOf('TIMEOUT')).toEqual({ kind: 'over', reason: 'DeadlineExceeded' });
    expect(meaningOf('OUT_OF_MEMORY')).toEqual({ kind: 'over', reason: 'OOMKilled' });
    expect(meaningOf('COMPLETED')).toEqual({ kind: 'over' });
    expect(meaningOf('SOMETHING_NEW')).toEqual({ kind: 'running' });
  });
});
