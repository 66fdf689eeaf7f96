import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readMappingFile } from '../src/core/linking/read-imports.ts';
import { identity } from '../src/index.ts';
import { ALISE, ISSUER, type RunningProvider, startProvider } from './provider.ts';

const KEY = 'abcdefghijklmnopqrstuvwxyzabcdef';
const folder = mkdtempSync(path.join(tmpdir(), 'weft-import-'));
const aliseFile = path.join(folder, 'alise_hpc.db');
const mappingFile = path.join(folder, 'mapping.csv');
let provider: RunningProvider;

beforeAll(async () => {
  const alise = new DatabaseSync(aliseFile);
  for (const table of ['int_user', 'ext_user'])
    alise.exec(
      `create table ${table} (session_id TEXT, identity TEXT, provider TEXT, jsonstr JSON, last_seen INTEGER)`,
    );
  const add = (table: string, session: string, name: string, details: object) =>
    alise.prepare(`insert into ${table} values (?, ?, '', ?, 0)`).run(session, name, JSON.stringify(details));
  add('int_user', 'hpc:7f2c', 'hpc:7f2c', { generated_username: 'carol01', display_name: 'Carol C.' });
  add('ext_user', 'hpc:7f2c', 'community:sub:with:colons', { display_name: 'Carol' });
  add('ext_user', 'hpc:7f2c', 'forgotten:x', {});
  add('ext_user', 'hpc:nobody', 'community:orphan', {});
  alise.close();
  writeFileSync(mappingFile, 'dave dave-sub\neve dave-sub\n');
  provider = await startProvider({
    alise: {
      listen: { port: 8442 },
      url: ALISE,
      sites: [
        {
          name: 'hpc',
          internal: [{ name: 'hpc', issuer: 'https://idp.hpc.test' }],
          external: [{ name: 'community', issuer: ISSUER }],
          import: {
            alise_database: aliseFile,
            mapping_file: { file: mappingFile, issuer: 'https://other.test' },
          },
          api_keys: [{ name: 'teapot', secret: KEY }],
        },
      ],
    },
  });
});
afterAll(async () => {
  await provider.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function whoIs(iss: string, sub: string): Promise<unknown> {
  const response = await provider.fetch(`${ALISE}/api/v2/sites/hpc/mappings:lookup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': KEY },
    body: JSON.stringify({ identities: [{ iss, sub }] }),
  });
  const { mappings } = JSON.parse(await response.text());
  return mappings[0] === null ? null : [mappings[0].username, mappings[0].state];
}

it('takes the links of an ALISE and of a mapping file over', async () => {
  expect(await whoIs('https://idp.hpc.test', '7f2c')).toEqual(['carol01', 'active']);
  expect(await whoIs(ISSUER, 'sub:with:colons')).toEqual(['carol01', 'active']);
  expect(await whoIs(ISSUER, 'orphan')).toBeNull();
  expect(await whoIs('https://other.test', 'dave-sub')).toEqual(['dave', 'active']);
});

it('does not bring back at the next start what was unlinked since', async () => {
  await sql`update identity.links set state = 'unlinked' where kind = 'external'`.execute(
    provider.context.database.sql,
  );
  await identity.prepare?.(provider.context);
  expect(await whoIs(ISSUER, 'sub:with:colons')).toEqual(['carol01', 'unlinked']);
});

it('names the line of a mapping file that is wrong', () => {
  writeFileSync(mappingFile, 'dave dave-sub\nroot me; rm\n');
  expect(() => readMappingFile(mappingFile, ISSUER)).toThrow(/line 2/);
});
