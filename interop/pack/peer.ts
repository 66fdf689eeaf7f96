import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';
import { PeerUnavailable } from '../harness/peer-unavailable.ts';
import { PACKED_PORT_BASE } from '../harness/ports.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');

/**
 * npm itself: the packed build is installed into an empty folder, away from the checkout, and runs there. What npm has to
 * fetch is what the registry has; the rest comes out of the tarball.
 */
const peer: Peer = {
  name: 'pack',
  components: ['kernel', 'cli'],
  async install(tools) {
    if (!(await tools.again('npm', ['ping'], { timeoutSeconds: 60 })))
      throw new PeerUnavailable('npm cannot reach its registry (npm ping)');
  },
  async quick({ check, tools, folder }) {
    const weft = path.join(folder, 'node_modules', '.bin', 'weft');
    const data = path.join(folder, 'data');
    const run = (...options: string[]) =>
      tools.run(weft, [...options, '--data', data], { cwd: folder, timeoutSeconds: 400 });
    // As root the database's account must get through.
    mkdirSync(folder, { recursive: true });
    await tools.succeed('chmod', ['0711', folder]);

    await check('npm pack makes one tarball, and npm installs it elsewhere', async () => {
      const { stdout } = await tools.succeed(process.execPath, [path.join(ROOT, 'scripts', 'pack.ts')], {
        cwd: ROOT,
        timeoutSeconds: 300,
      });
      const tarball = stdout.trim().split('\n').at(-1) ?? '';
      expectEqual(statSync(tarball).size < 5e6, true, 'a tarball below 5 MB');
      writeFileSync(path.join(folder, 'package.json'), '{"private":true}\n');
      await tools.succeed('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', tarball], {
        cwd: folder,
        timeoutSeconds: 300,
      });
      expectEqual(existsSync(weft), true, 'the command is installed');
    });
    await check('weft up starts everything there, and weft down ends it', async () => {
      const up = await run('up', '--detach', '--port-base', String(PACKED_PORT_BASE));
      expectEqual(up.code, 0, up.stderr);
      expectMatch((await run('status')).stdout, /^ready {4}identity/m, 'status');
      expectEqual((await run('down')).code, 0, 'weft down');
    });
    await check('weft demo runs the example twin there', async () => {
      const demo = await run('demo', '--once', '--port-base', String(PACKED_PORT_BASE));
      expectMatch(demo.stdout, /^\d+ passed, 0 failed$/m, `weft demo (${demo.code}) ${demo.stderr}`);
      expectEqual(demo.code, 0, 'exit code');
    });
    rmSync(folder, { recursive: true, force: true });
  },
};

export default peer;
