import { areaName, areaPath, type Imported } from './imported.ts';
import { type Ini, parseIni, splitList } from './read-ini.ts';

export interface TeapotOptions {
  /** Name of the site here; default: `COMPUTING_CENTRE`. */
  readonly site?: string;
  /** The address that others use; default: made of `hostname` and `port`. */
  readonly url?: string;
  /** Mapping files by name, for `mapping = FILE`. */
  readonly mappingFiles?: ReadonlyMap<string, string>;
}

const TEAPOT = 'Teapot';
const STORM = 'Storm-webdav';
const LEVELS: Readonly<Record<string, string>> = {
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'error',
};
/** Where the account that runs a service is its own: the configuration names it for the file and the key. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  app_name: 'a name for logs; the unit of systemd has one',
  starting_port: 'workers have no ports: they talk over a socket pair',
  check_interval_sec: 'idle workers are looked for every 30 s',
  teapot_ca:
    'workers have no TLS; for services with certificates of your own see outgoing.certificate_authorities',
  log_location: 'logs go to standard output, for journald',
  teapot_restart: 'nothing is kept over a restart that could be stale',
  storm_webdav_startup_timeout: 'a worker that is not ready after 10 s is given up',
  sessions_path: 'there is no file of sessions: workers end with the service',
};
/** Of the JVMs, what lives on. */
const STORM_USED = ['tpc_max_connections', 'tpc_verify_checksum'];

/** Teapot's `config.ini` as sections of ours (brief teapot 3.4). */
export function importTeapot(text: string, options: TeapotOptions = {}): Imported {
  const ini = parseIni(text);
  const notes: string[] = [];
  const teapot = (key: string) => ini.get(TEAPOT, key);
  const host = teapot('hostname') ?? '0.0.0.0';
  const port = Number(teapot('port') ?? 8081);
  const named = !/^[0.:]+$/.test(host);
  if (options.url === undefined && !named)
    notes.push(
      'storage.instances[0].url: config.ini does not say what the service is called; put its name there.',
    );
  const url = options.url ?? `https://${named ? host : 'storage.example.org'}:${port}`;
  const site = options.site ?? ini.get('ALISE', 'COMPUTING_CENTRE') ?? 'site';
  const areas = readAreas(ini, notes);
  const differ = new Set(areas.map((area) => area.issuers.toSorted().join(' '))).size > 1;
  const issuers = [
    ...new Set([...splitList(teapot('trusted_OP')), ...areas.flatMap(({ issuers }) => issuers)]),
  ];
  if (issuers.length === 0) notes.push('issuers: no trusted_OP; nobody can sign in before one is named.');
  const idle = teapot('INSTANCE_TIMEOUT_SEC');
  const perUser = Number(ini.get(STORM, 'TPC_MAX_CONNECTIONS'));
  const verified = ini.get(STORM, 'TPC_VERIFY_CHECKSUM')?.toLowerCase() === 'true';
  const copies = {
    ...(Number.isInteger(perUser) && perUser > 0 ? { maximum_per_user: perUser } : {}),
    ...(verified ? { require_checksum: true } : {}),
  };
  const level = LEVELS[(teapot('log_level') ?? '').toLowerCase()];
  const certificate = teapot('Teapot_ssl_certificate');
  const key = teapot('Teapot_ssl_key');

  const configuration = {
    ...(level === undefined ? {} : { log: { level } }),
    issuers: issuers.map((issuer) => ({ issuer })),
    ...(certificate !== undefined && key !== undefined
      ? { tls: { certificate_file: certificate, key_file: key } }
      : {}),
    storage: {
      instances: [
        {
          site,
          // A name in hostname was the address to bind, too.
          listen: { host: named ? '0.0.0.0' : host, port },
          url,
          // Where all areas trust the same, nothing need be said.
          areas: areas.map(({ issuers: own, ...area }) =>
            differ && own.length > 0 ? { ...area, issuers: own } : area,
          ),
          multi_user: {
            mapping: readMapping(ini, issuers, options, notes),
            ...(idle === undefined ? {} : { idle_seconds: Number(idle) }),
          },
          ...(Object.keys(copies).length === 0 ? {} : { third_party_copy: copies }),
        },
      ],
    },
  };
  noteRest(ini, notes);
  return { configuration, notes };
}

interface TeapotArea {
  readonly name: string;
  readonly path: string;
  readonly root: string;
  readonly issuers: readonly string[];
}

function readAreas(ini: Ini, notes: string[]): TeapotArea[] {
  const areas: TeapotArea[] = [];
  const add = (name: string, accessPoint: string, root: string, issuers: readonly string[]) => {
    const taken = areas.map((area) => area.name);
    areas.push({ name: areaName(name, taken), path: areaPath(accessPoint), root, issuers });
  };
  const sections = ini.sections.filter((name) => /^STORAGE_AREA_/i.test(name));
  for (const section of sections) {
    const name = ini.get(section, 'name') ?? section;
    const root = ini.get(section, 'rootPath');
    if (root === undefined) {
      notes.push(`[${section}] has no rootPath and was left out.`);
      continue;
    }
    const issuers = ini
      .keys(section)
      .filter((key) => key.startsWith('idp_url_'))
      .flatMap((key) => ini.get(section, key) ?? []);
    const points = splitList(ini.get(section, 'accessPoint') ?? `/${name}`);
    for (const point of points) add(points.length === 1 ? name : point, point, root, issuers);
  }
  if (sections.length === 0) {
    notes.push(
      'areas: config.ini has none; these two are what Teapot serves then. Compare with its user_config.ini.',
    );
    add('default', '/default', '/home/{username}/interTwin', []);
    add('data', '/data', '/data', []);
  }
  return areas;
}

function readMapping(
  ini: Ini,
  issuers: readonly string[],
  { mappingFiles }: TeapotOptions,
  notes: string[],
): Record<string, unknown>[] {
  const method = (ini.get(TEAPOT, 'mapping') ?? 'FILE').toUpperCase();
  const [sole] = issuers.length === 1 ? issuers : [];
  switch (method) {
    case 'FILE': {
      const file = ini.get(TEAPOT, 'mapping_file') ?? '/etc/teapot/user-mapping.csv';
      for (const [name, text] of mappingFiles ?? []) notes.push(...examineMappingFile(name, text, sole));
      if (sole === undefined)
        notes.push(
          `${file}: several providers are trusted, and a line without an issuer maps nobody; write "account subject issuer".`,
        );
      return [{ method: 'file', file, ...(sole === undefined ? {} : { issuer: sole }) }];
    }
    case 'ALISE': {
      const key = ini.get('ALISE', 'APIKEY');
      if (key !== undefined)
        notes.push('multi_user.mapping[0].api_key: put APIKEY of config.ini there; it is not printed here.');
      const url = ini.get('ALISE', 'INSTANCE')?.replace(/\/+$/, '');
      return [
        {
          method: 'alise',
          ...(url === undefined ? {} : { url }),
          ...optional('site', ini.get('ALISE', 'COMPUTING_CENTRE')),
          ...(key === undefined ? {} : { api_key: 'PUT-THE-KEY-HERE' }),
        },
      ];
    }
    case 'VO': {
      const pairs = ini.keys('VO_enforcement').flatMap((name) => {
        const suffix = /^group_(.+)$/.exec(name)?.[1];
        const group = ini.get('VO_enforcement', name);
        const account = suffix === undefined ? undefined : ini.get('VO_enforcement', `username_${suffix}`);
        if (suffix !== undefined && account === undefined)
          notes.push(`[VO_enforcement] ${name} has no username_${suffix}.`);
        return group !== undefined && account !== undefined ? [{ group, account }] : [];
      });
      return issuers.map((issuer) => ({ method: 'group', issuer, pairs }));
    }
    case 'KEYCLOAK':
      notes.push(
        'mapping = KEYCLOAK let every trusted provider name local accounts; keep the method only for issuers whose administrators may do that.',
      );
      return issuers.map((issuer) => ({ method: 'claim', issuer, claim: 'preferred_username' }));
    default:
      notes.push(`mapping = ${method} is not known; nobody is mapped before you choose a method.`);
      return [];
  }
}

function optional(name: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [name]: value };
}

/** What is odd about a mapping file: `account subject [issuer]` a line. */
function examineMappingFile(name: string, text: string, sole: string | undefined): string[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([account]) => account !== '' && account?.startsWith('#') !== true);
  const notes: string[] = [];
  const without = lines.filter(({ length }) => length === 2).length;
  const broken = lines.filter(({ length }) => length !== 2 && length !== 3).length;
  const seen = new Set<string>();
  let repeated = 0;
  for (const [, subject = '', issuer = sole ?? ''] of lines) {
    const identity = `${issuer} ${subject}`;
    if (seen.has(identity)) repeated += 1;
    seen.add(identity);
  }
  if (without > 0 && sole === undefined)
    notes.push(`${name}: ${without} lines name no issuer and map nobody.`);
  if (repeated > 0)
    notes.push(`${name}: ${repeated} lines repeat a user; the first line about somebody counts.`);
  if (broken > 0)
    notes.push(`${name}: ${broken} lines are neither "account subject" nor "account subject issuer".`);
  return notes;
}

const TEAPOT_USED = [
  'hostname',
  'port',
  'trusted_op',
  'teapot_ssl_certificate',
  'teapot_ssl_key',
  'instance_timeout_sec',
  'log_level',
  'mapping',
  'mapping_file',
];

function noteRest(ini: Ini, notes: string[]): void {
  for (const key of ini.keys(TEAPOT)) {
    if (TEAPOT_USED.includes(key)) continue;
    notes.push(`[Teapot] ${key}: ${ELSEWHERE[key] ?? 'not known'}.`);
  }
  const storm = ini.keys(STORM).filter((key) => !STORM_USED.includes(key));
  if (storm.length > 0)
    notes.push(`[Storm-webdav] ${storm.join(', ')}: settings of the Java servers; there are none any more.`);
  for (const section of ini.sections) {
    if (
      ![TEAPOT, STORM, 'VO_enforcement', 'ALISE', 'Current-user'].includes(section) &&
      !/^STORAGE_AREA_/i.test(section)
    )
      notes.push(`[${section}]: not known.`);
  }
}
