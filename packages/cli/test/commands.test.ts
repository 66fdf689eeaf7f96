import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { freeBase, weft } from './run-weft.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'weft-commands-'));
  chmodSync(folder, 0o711);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('weft', { timeout: 300_000 }, () => {
  it('doctor says what is there as JSON, and makes nothing', async () => {
    const data = path.join(folder, 'none');
    const base = String(await freeBase());
    const { code, output } = await weft('doctor', '--json', '--data', data, '--port-base', base);
    const { sound, findings } = z
      .object({ sound: z.boolean(), findings: z.array(z.object({ name: z.string(), state: z.string() })) })
      .parse(JSON.parse(output));
    expect(code).toBe(sound ? 0 : 69);
    expect(findings.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['node', 'postgresql', 'account', 'disk', 'ports', 'loopback', 'slurm']),
    );
    expect(existsSync(data)).toBe(false);
  });

  it('config schema knows every section, and editors may trust it', async () => {
    const { code, output } = await weft('config', 'schema');
    expect(code).toBe(0);
    const schema = z
      .object({
        $schema: z.string(),
        properties: z.record(z.string(), z.unknown()),
        required: z.array(z.string()),
      })
      .parse(JSON.parse(output));
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining([
        'database',
        'tls',
        'identity',
        'storage',
        'datalake',
        'transfer',
        'accounting',
      ]),
    );
    expect(schema.required).toContain('secret_key_file');
    expect(schema.required).not.toContain('datalake');
  });

  it('config show fills in defaults and overrides and keeps secrets to itself', async () => {
    const file = path.join(folder, 'weft.yaml');
    writeFileSync(
      file,
      `data_folder: /tmp/x
database: { url: 'postgres://weft:geheim@db.example/weft' }
secret_key_file: /etc/weft/secret.key
tls: { certificate_file: /etc/weft/server.pem, key_file: /etc/weft/server.key }
credentials: { datalake: { issuer: 'https://i.example', client_id: lake, client_secret: geheim } }
accounting: { url: 'https://localhost:8443' }
`,
    );
    process.env.WEFT__LOG__LEVEL = 'debug';
    const { code, output } = await weft('config', 'show', '--config', file);
    delete process.env.WEFT__LOG__LEVEL;
    expect(code, output).toBe(0);
    expect(output).not.toContain('geheim');
    expect(output).toMatch(/port: 8443/);
    expect(output).toMatch(/level: debug/);
  });

  it.skipIf(spawnSync('bash', ['--version']).error)(
    'completion prints what the shell can read, and completes commands and options',
    async () => {
      const { output } = await weft('completion', 'bash');
      const script = path.join(folder, 'completion');
      writeFileSync(script, output);
      const complete = (...words: string[]) =>
        spawnSync(
          'bash',
          [
            '-c',
            `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; echo "\${COMPREPLY[@]}"`,
            'bash',
            script,
            ...words,
          ],
          { encoding: 'utf8' },
        ).stdout.trim();
      expect(complete('weft', 'do')).toBe('down doctor');
      expect(complete('weft', 'config', 's')).toBe('schema show');
      expect(complete('weft', 'up', '--port')).toBe('--port-base');
      execFileSync('bash', ['-n', script]);
    },
  );

  it('backup and restore move an instance into another data folder, keys included', async () => {
    const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')];
    const base = String(await freeBase());
    const up = await weft('up', 'identity', 'accounting', '--detach', '--data', from, '--port-base', base);
    expect(up.code, up.output).toBe(0);
    const file = path.join(folder, 'weft.backup');
    const backup = await weft('backup', file, '--data', from, '--json');
    expect(backup.code, backup.output).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(`${file}.keys`).mode & 0o777).toBe(0o600);
    expect((await weft('restore', file, '--data', from)).code).toBe(75);
    expect((await weft('down', '--data', from)).code).toBe(0);

    const restore = await weft('restore', file, '--data', to, '--json');
    expect(restore.code, restore.output).toBe(0);
    expect(JSON.parse(restore.output)).toEqual(JSON.parse(backup.output));
    const key = (data: string) => readFileSync(path.join(data, 'secrets', 'secret.key'));
    expect(key(to)).toEqual(key(from));
    const used = await weft('restore', file, '--data', to);
    expect(used.code).toBe(65);
    expect(used.output).toMatch(/in use already/);

    // The issuer's signing key, sealed in the database, opens with the restored key: it can sign.
    const again = await weft('up', 'identity', 'accounting', '--detach', '--data', to, '--port-base', base);
    expect(again.code, again.output).toBe(0);
    const token = await weft('token', '--data', to);
    expect(token.code, token.output).toBe(0);

    // What an administrator does in an emergency.
    expect((await weft('identity', 'suspend', 'alice', '--data', to)).code).toBe(0);
    const suspended = await weft('token', '--data', to);
    expect([suspended.code, suspended.output]).toEqual([69, expect.stringMatching(/gives alice no token/)]);
    expect((await weft('identity', 'resume', 'alice', '--data', to)).code).toBe(0);
    expect((await weft('token', '--data', to)).code).toBe(0);
    const rotated = await weft('identity', 'rotate-key', '--leaked', '--json', '--data', to);
    expect(JSON.parse(rotated.output).removed, rotated.output).toHaveLength(1);
    const refused = await weft('identity', 'suspend', 'bob', '--user', 'alice', '--data', to);
    expect([refused.code, refused.output]).toEqual([69, expect.stringMatching(/iam:admin\.write/)]);
    expect((await weft('down', '--data', to)).code).toBe(0);
  });
});
