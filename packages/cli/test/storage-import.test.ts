import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { sectionSchema } from '../src/configuration-schema.ts';
import { importStorm } from '../src/storage-import/import-storm.ts';
import { importTeapot } from '../src/storage-import/import-teapot.ts';
import { weft } from './run-weft.ts';

const OP = 'https://op.example.org/realms/site';

/** The keys that the original knows, each with a value of our own. */
const TEAPOT = `
[Teapot]
# who we are
APP_NAME = teapot
hostname = storage.site.example
port = 9443
trusted_OP = ${OP}, https://other.example.org
Teapot_CA = /etc/pki/ca.pem
Teapot_ssl_certificate = /etc/pki/host.pem
Teapot_ssl_key = /etc/pki/host.key
STARTING_PORT = 33000
INSTANCE_TIMEOUT_SEC = 900
CHECK_INTERVAL_SEC = 60
log_location = /var/log/teapot.log
log_level = WARNING
sessions_path = /var/lib/sessions.json
mapping = VO

[VO_enforcement]
group_climate = urn:geant:example.org:group:climate#aai.example.org
username_climate = climate
group_sea = /sea
username_sea = ocean
group_lost = /lost

[ALISE]
INSTANCE = https://linking.example.org/
COMPUTING_CENTRE = hpc-centre
APIKEY = 0123456789-not-to-be-printed

[STORAGE_AREA_1]
name = Default Area
rootPath = /scratch/\${Current-user:username}/files
accessPoint = /default
IdP_name_1 = site
IdP_URL_1 = ${OP}

[STORAGE_AREA_2]
name = shared
base = /data
rootPath = \${base}/shared
accessPoint = /data/, /daten
IdP_name_1 = third
IdP_URL_1 = https://third.example.org

[Storm-webdav]
JVM_OPTS = -Xmx1g
SERVER_ADDRESS = localhost
HTTPS_PORT = \${port}
TPC_MAX_CONNECTIONS = 25
TPC_VERIFY_CHECKSUM = true
`;

async function instanceOf({ configuration }: { configuration: Readonly<Record<string, unknown>> }) {
  const parsed = (await sectionSchema('storage')).parse(configuration.storage);
  // As it was made, not with the defaults.
  expect(parsed).toBeDefined();
  const { instances } = configuration.storage as { instances: Record<string, unknown>[] };
  return instances[0] ?? {};
}

describe("Teapot's config.ini", () => {
  it('becomes one instance with its areas, issuers, certificate, limits and mapping', async () => {
    const imported = importTeapot(TEAPOT);
    expect(imported.configuration).toMatchObject({
      log: { level: 'warn' },
      issuers: [OP, 'https://other.example.org', 'https://third.example.org'].map((issuer) => ({ issuer })),
      tls: { certificate_file: '/etc/pki/host.pem', key_file: '/etc/pki/host.key' },
    });
    const third = ['https://third.example.org'];
    const pairs = [
      { group: 'urn:geant:example.org:group:climate#aai.example.org', account: 'climate' },
      { group: '/sea', account: 'ocean' },
    ];
    expect(await instanceOf(imported)).toEqual({
      site: 'hpc-centre',
      listen: { host: '0.0.0.0', port: 9443 },
      url: 'https://storage.site.example:9443',
      areas: [
        { name: 'default-area', path: '/default', root: '/scratch/{username}/files', issuers: [OP] },
        { name: 'data', path: '/data', root: '/data/shared', issuers: third },
        { name: 'daten', path: '/daten', root: '/data/shared', issuers: third },
      ],
      multi_user: {
        mapping: [OP, 'https://other.example.org', 'https://third.example.org'].map((issuer) => ({
          method: 'group',
          issuer,
          pairs,
        })),
        idle_seconds: 900,
      },
      third_party_copy: { maximum_per_user: 25, require_checksum: true },
    });
  });

  it('says of every key that is left out what became of it, and does not print the key of ALISE', () => {
    const { notes } = importTeapot(TEAPOT.replace('mapping = VO', 'mapping = ALISE'));
    const text = notes.join('\n');
    for (const key of [
      'app_name',
      'starting_port',
      'check_interval_sec',
      'teapot_ca',
      'log_location',
      'sessions_path',
    ])
      expect(text).toContain(`[Teapot] ${key}: `);
    expect(text).toContain('jvm_opts');
    expect(JSON.stringify(importTeapot(TEAPOT.replace('mapping = VO', 'mapping = ALISE')))).not.toContain(
      '0123456789',
    );
  });

  it.each([
    [
      'ALISE',
      {
        method: 'alise',
        url: 'https://linking.example.org',
        site: 'hpc-centre',
        api_key: 'PUT-THE-KEY-HERE',
      },
    ],
    ['KEYCLOAK', { method: 'claim', issuer: OP, claim: 'preferred_username' }],
    ['FILE', { method: 'file', file: '/etc/teapot/user-mapping.csv', issuer: OP }],
  ])('mapping by %s', async (mapping, method) => {
    const sole = `[Teapot]\nmapping = ${mapping}\ntrusted_OP = ["${OP}"]\n${TEAPOT.slice(TEAPOT.indexOf('[ALISE]'), TEAPOT.indexOf('[STORAGE'))}`;
    const instance = await instanceOf(importTeapot(sole, { url: 'https://s.example.org:8081' }));
    expect(instance.multi_user).toEqual({ mapping: [method] });
  });

  it('looks through the mapping file: lines without an issuer map nobody where several are trusted', () => {
    const text = TEAPOT.replace('mapping = VO', 'mapping = FILE\nmapping_file = /etc/users');
    const file =
      'alice 1234\nbob 5678 https://third.example.org\nbob 5678 https://third.example.org\n# x\ncarol\n';
    const { notes } = importTeapot(text, { mappingFiles: new Map([['users', file]]) });
    expect(notes).toEqual(
      expect.arrayContaining([
        'users: 1 lines name no issuer and map nobody.',
        'users: 1 lines repeat a user; the first line about somebody counts.',
        expect.stringMatching(/^users: 1 lines are neither/),
      ]),
    );
  });

  it('without areas serves what Teapot serves then', async () => {
    const instance = await instanceOf(importTeapot(`[Teapot]\ntrusted_OP = ${OP}\n`));
    expect(instance.areas).toMatchObject([{ path: '/default' }, { path: '/data' }]);
  });
});

describe("StoRM's storage areas", () => {
  const files = new Map([
    [
      'vo.properties',
      `# an area\nname=vo.example\nrootPath=/storage/vo\naccessPoints=/vo.example,/vo\nvos=vo.example\norgs=${OP}\nwlcgScopeAuthzEnabled=true\ntapeEnabled=true\nanonymousReadEnabled=false\nodd=1\n`,
    ],
    [
      'public.properties',
      'name = public\nrootPath : /storage/public\naccessPoints=/public\nanonymousReadEnabled=true\nvos=*\n',
    ],
    ['broken.properties', 'name=broken\n'],
  ]);

  it('become areas of one instance in single-user mode', async () => {
    const imported = importStorm(files, { site: 'tier1', url: 'https://storm.example.org:8443' });
    expect(imported.configuration.issuers).toEqual([{ issuer: OP }]);
    // Tokens with scopes need none; these are for proxies of the VO and for tokens that have no scopes.
    const members = [
      { effect: 'permit', actions: ['all'], principals: [{ vo: 'vo.example' }] },
      { effect: 'permit', actions: ['list', 'read'], principals: [{ issuer: OP }] },
    ];
    expect(await instanceOf(imported)).toEqual({
      site: 'tier1',
      listen: { host: '0.0.0.0', port: 8443 },
      url: 'https://storm.example.org:8443',
      areas: [
        { name: 'vo-example', path: '/vo.example', root: '/storage/vo', policies: members },
        { name: 'vo', path: '/vo', root: '/storage/vo', policies: members },
        {
          name: 'public',
          path: '/public',
          root: '/storage/public',
          read_only: true,
          policies: [{ effect: 'permit', actions: ['list', 'read'], principals: ['anyone'] }],
        },
      ],
    });
  });

  it('say what has no counterpart', () => {
    const text = importStorm(files).notes.join('\n');
    expect(text).toMatch(/vo\.properties: vos vo\.example: for their proxies set client_certificates/);
    expect(text).toMatch(/vo\.properties: tapeEnabled/);
    expect(text).toMatch(/vo\.properties: odd: not known/);
    expect(text).toMatch(/broken\.properties: no rootPath/);
    expect(text).not.toMatch(/public\.properties: orgsGrantReadPermission/);
  });
});

describe('weft storage import', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-import-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('prints YAML whose comments say what was left out', async () => {
    const file = join(folder, 'config.ini');
    writeFileSync(file, TEAPOT);
    const { code, output } = await weft('storage', 'import', 'teapot', file, '--site', 'here');
    expect(code).toBe(0);
    expect(output).toMatch(/^# From .*config\.ini\. Check it/);
    expect(output).toMatch(/^# - \[Teapot\] starting_port: /m);
    expect(parse(output).storage.instances[0].site).toBe('here');
  });

  it('ends with 66 for a file that is not there', async () => {
    const { code, output } = await weft('storage', 'import', 'storm', join(folder, 'none.properties'));
    expect([code, output]).toEqual([66, expect.stringContaining('none.properties cannot be read')]);
  });
});
