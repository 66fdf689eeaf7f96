import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createRevocations, createTokenVerifier } from '@weft/kernel/auth';
import { restoreBackup, writeBackup } from '@weft/kernel/database';
import { createTestContext, startTestDatabase } from '@weft/kernel/testing';
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { identity } from '../src/index.ts';
import { ISSUER, STORAGE, secretOf, startProvider } from './provider.ts';

const CLI = { client_id: 'cli' };

it('does not bring credentials back that were revoked after the backup (T48)', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'weft-restore-'));
  const provider = await startProvider();
  const restored = await startTestDatabase({ migrate: false });
  try {
    const { body } = await provider.token({
      ...CLI,
      grant_type: 'password',
      username: 'alice',
      password: 'correct horse battery',
      audience: STORAGE,
      scope: 'openid offline_access storage.read:/',
    });
    const access = String(body.access_token);
    const offline = await provider.token(
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: await provider.userToken('alice', 'openid profile', 'https://orchestrator.test'),
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        audience: 'https://datalake.test',
        scope: 'openid offline_access',
      },
      { id: 'orchestrator', secret: secretOf('orchestrator') },
    );
    expect(offline.body.refresh_token).toBeTypeOf('string');

    const file = path.join(folder, 'backup');
    await writeBackup(provider.context.database, createWriteStream(file));
    await provider.post('/revoke', { token: String(body.refresh_token), ...CLI });
    // Tokens carry whole seconds; the restore happens in a later one.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await restoreBackup(restored.database, createReadStream(file), { identity: identity.migrations });

    const context = createTestContext({
      test: restored,
      config: provider.context.config,
      verifier: provider.context.verifier,
      fetch: provider.fetch,
    });
    await identity.prepare?.(context);
    const revocations = createRevocations(context);
    const verifier = createTokenVerifier({
      issuers: [{ issuer: ISSUER }],
      fetch: provider.fetch,
      log: context.log,
      revocations,
    });
    await expect(verifier.verify(access, { audiences: [STORAGE] })).rejects.toThrow(/revoked/);
    const fresh = await provider.userToken('alice', 'openid', STORAGE);
    await expect(verifier.verify(fresh, { audiences: [STORAGE] })).resolves.toBeDefined();
    revocations.close();

    const { rows } = await sql<{ actors: string[]; alive: boolean }>`
      select actors, revoked_at is null as alive from identity.refresh_tokens`.execute(restored.database.sql);
    expect(rows).toContainEqual({ actors: [], alive: false });
    expect(rows).toContainEqual({ actors: ['orchestrator'], alive: true });
  } finally {
    await provider.stop();
    await restored.stop();
    await rm(folder, { recursive: true });
  }
});
