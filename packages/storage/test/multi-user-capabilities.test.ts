import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeAccounts, type TestAccounts, whyNoAccounts } from './local-accounts.ts';

const execute = promisify(execFile);
const reason = whyNoAccounts();
const SETS = '+setuid,+setgid,+kill,+sys_ptrace';
const MODULE = new URL('../src/core/local-users/worker-process.ts', import.meta.url).href;
const ANSWERS = new URL('../src/core/local-users/file-answers.ts', import.meta.url).href;

describe.skipIf(reason !== undefined)(
  `a service without root that may become other users${reason ? ` (skipped: ${reason})` : ''}`,
  () => {
    let made: TestAccounts;
    let folder: string;
    beforeAll(() => {
      made = makeAccounts(2);
      folder = mkdtempSync(join(tmpdir(), 'weft-capable-'));
      chmodSync(folder, 0o1777);
    });
    afterAll(() => {
      rmSync(folder, { recursive: true, force: true });
      made?.remove();
    });

    it('starts workers that have none of its capabilities, reads what they open, and stops them', async () => {
      const [service, user] = made.accounts;
      if (!service || !user) throw new Error('no accounts');
      const groups = [user.gid, made.group.gid];
      const account = { name: user.name, uid: user.uid, gid: user.gid, home: '/', groups };
      const root = join(folder, 'own');
      const settings = { identity: account, areas: [{ name: 'a', root, durability: 'none', umask: 0o27 }] };
      const program = join(folder, 'service.mjs');
      // As the unit of systemd has it: an account of its own, and four ambient capabilities.
      writeFileSync(
        program,
        `import { readFileSync } from 'node:fs';
        const { startWorker } = await import(${JSON.stringify(MODULE)});
        const { results } = await import(${JSON.stringify(ANSWERS)});
        const worker = await startWorker(${JSON.stringify(account)}, ${JSON.stringify(settings)}, { memoryBytes: 512 * 1024 ** 2 });
        const status = readFileSync('/proc/' + worker.pid + '/status', 'utf8');
        const stage = await worker.call({ call: 'stage', area: 'a' }, results.handle);
        const staged = stage.result.handle;
        await worker.call({ call: 'write', staged, position: 0 }, results.nothing, Buffer.from('content'));
        await worker.call({ call: 'commit', staged, path: ['f'], replace: true }, results.facts);
        const { result } = await worker.call({ call: 'open', area: 'a', path: ['f'] }, results.openFile);
        const file = worker.adopt(result.descriptor, result.facts);
        const buffer = Buffer.alloc(7);
        await file?.read(buffer, 0);
        await worker.stop();
        console.log(JSON.stringify({ uid: process.getuid(), status, adopted: file !== undefined, text: buffer.toString() }));`,
      );
      chmodSync(program, 0o644);
      const identity = [`--reuid=${service.uid}`, `--regid=${service.gid}`, '--clear-groups'];
      const sets = ['inh-caps', 'ambient-caps', 'bounding-set'].map((set) => `--${set}=-all,${SETS}`);
      const { stdout } = await execute('setpriv', [...identity, ...sets, process.execPath, program], {
        env: { PATH: process.env.PATH },
      });
      const told = JSON.parse(stdout);
      expect(told).toMatchObject({ uid: service.uid, text: told.adopted ? 'content' : '\0'.repeat(7) });
      expect(told.status).toMatch(
        new RegExp(`^Uid:\\s+${user.uid}\\s+${user.uid}\\s+${user.uid}\\s+${user.uid}$`, 'm'),
      );
      for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'])
        expect(told.status).toMatch(new RegExp(`^${set}:\\s+0+$`, 'm'));
      expect(told.status).toMatch(/^NoNewPrivs:\s+1$/m);
      const stats = statSync(join(root, 'f'));
      expect([stats.uid, stats.gid, stats.mode & 0o777]).toEqual([user.uid, user.gid, 0o640]);
    });
  },
);
