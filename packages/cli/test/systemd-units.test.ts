import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from './run-weft.ts';

const FOLDER = join(ROOT, 'docs', 'systemd');
const without = spawnSync('systemd-analyze', ['--version']).status !== 0;

describe('the units of systemd in docs/', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-units-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.skipIf(without).each(readdirSync(FOLDER))('%s is accepted by systemd-analyze verify', (name) => {
    // Installed elsewhere, as one instance.
    const file = join(folder, name.replace('@', '@here'));
    writeFileSync(file, readFileSync(join(FOLDER, name), 'utf8').replaceAll('/opt/weft', ROOT));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  it('give the service for local users exactly what it takes to become them, and the other nothing', () => {
    const capabilities = (name: string) =>
      ['AmbientCapabilities', 'CapabilityBoundingSet'].map((key) => {
        const unit = readFileSync(join(FOLDER, name), 'utf8');
        return new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1];
      });
    const all = 'CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_PTRACE';
    expect(capabilities('weft-storage-multi-user@.service')).toEqual([all, all]);
    expect(capabilities('weft-storage@.service')).toEqual(['', '']);
  });

  it.skipIf(without)('start the command that is there', () => {
    for (const name of readdirSync(FOLDER)) {
      const start = /^ExecStart=\/opt\/weft\/weft (.*)$/m.exec(readFileSync(join(FOLDER, name), 'utf8'))?.[1];
      expect(start).toBe('serve storage --config /etc/weft/weft.yaml --site %i');
    }
    expect(execFileSync(join(ROOT, 'weft'), ['serve', '--help'], { encoding: 'utf8' })).toMatch(/--site/);
  });
});
