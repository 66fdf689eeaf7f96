import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureAuthority } from '@weft/kernel/pki';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { weft } from './run-weft.ts';

const answerSchema = z.object({
  sound: z.boolean(),
  findings: z.array(
    z.object({ name: z.string(), state: z.string(), found: z.string(), mend: z.string().optional() }),
  ),
});

describe('weft doctor storage', { timeout: 300_000 }, () => {
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-doctor-'));
    const authority = await ensureAuthority(join(folder, 'pki'));
    const tls = await authority.ensureServerCertificate('test', {
      commonName: 'localhost',
      hosts: ['localhost'],
    });
    writeFileSync(join(folder, 'server.pem'), tls.certificate);
    writeFileSync(join(folder, 'server.key'), tls.key);
    writeFileSync(join(folder, 'secret.key'), Buffer.alloc(32, 7), { mode: 0o600 });
    mkdirSync(join(folder, 'data'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function examine(instance: Record<string, unknown>) {
    const file = join(folder, 'weft.yaml');
    const whole = {
      data_folder: folder,
      database: 'embedded',
      secret_key_file: join(folder, 'secret.key'),
      tls: { certificate_file: join(folder, 'server.pem'), key_file: join(folder, 'server.key') },
      storage: {
        instances: [
          {
            site: 'here',
            listen: { host: '127.0.0.1', port: 8081 },
            url: 'https://localhost:8081',
            ...instance,
          },
        ],
      },
    };
    writeFileSync(file, JSON.stringify(whole));
    const { code, output } = await weft('doctor', 'storage', '--config', file, '--json');
    return { code, ...answerSchema.parse(JSON.parse(output)) };
  }
  const states = (findings: readonly { name: string; state: string }[]) =>
    Object.fromEntries(findings.map(({ name, state }) => [name, state]));

  it('tries an area as every upload uses it, and leaves nothing behind', async () => {
    const { code, sound, findings } = await examine({
      areas: [{ name: 'data', root: join(folder, 'data') }],
    });
    expect([code, sound]).toEqual([0, true]);
    expect(states(findings)).toMatchObject({
      certificate: 'good',
      'area data: names': 'good',
      mode: 'good',
    });
    expect(findings.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['area data', 'area data: fsync', 'area data: attributes']),
    );
  });

  it('names what is wrong and how to mend it', async () => {
    const { code, findings } = await examine({
      url: 'https://other.example.org:8081',
      areas: [{ name: 'data', root: '/proc/nowhere/data' }],
      multi_user: {
        mapping: [
          { method: 'file', file: join(folder, 'no-such-file') },
          { method: 'group', issuer: 'https://x.example', pairs: [{ group: '/a', account: 'root' }] },
        ],
        minimum_uid: 1,
      },
    });
    expect(code).toBe(69);
    expect(states(findings)).toMatchObject({
      certificate: 'bad',
      'area data': 'bad',
      'mapping file': 'bad',
      'mapping group: accounts': 'note',
      'uid floor': 'note',
    });
    for (const { state, mend } of findings) if (state === 'bad') expect(mend).toBeTruthy();
  });
});
