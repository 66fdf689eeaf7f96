import { areaName, areaPath, type Imported } from './imported.ts';
import { splitList } from './read-ini.ts';
import { parseProperties } from './read-properties.ts';

export interface StormOptions {
  readonly site?: string;
  readonly url?: string;
}

const USED = [
  'name',
  'rootPath',
  'accessPoints',
  'vos',
  'orgs',
  'filesystemType',
  'anonymousReadEnabled',
  'authenticatedReadEnabled',
  'orgsGrantReadPermission',
  'orgsGrantWritePermission',
];
/** What a property asks for when it is true, and what there is instead. */
const WHEN_TRUE: Readonly<Record<string, string>> = {
  voMapEnabled: 'VO map files are not read: name certificates in policies of the area (x509_subject)',
  voMapGrantsWriteAccess:
    'VO map files are not read: name certificates in policies of the area (x509_subject)',
  fineGrainedAuthzEnabled: 'the policies of application.yml are not read: write them as policies of the area',
  tapeEnabled: 'name the tape system by hand: see tape in packages/storage/README.md',
};
const DEFAULTS: Readonly<Record<string, boolean>> = { orgsGrantReadPermission: true };

interface Policy {
  readonly effect: 'permit';
  readonly actions: readonly string[];
  readonly principals: readonly ('anyone' | 'any-authenticated' | Readonly<Record<string, string>>)[];
}

/** What StoRM let people do whose tokens or proxies say nothing about it themselves. */
function policiesOf(area: {
  isTrue: (key: string) => boolean;
  organisations: readonly string[];
  vos: readonly string[];
}): Policy[] {
  const { isTrue, organisations, vos } = area;
  const permit = (actions: readonly string[], principals: Policy['principals']): Policy[] =>
    principals.length === 0 ? [] : [{ effect: 'permit', actions, principals }];
  const issuers = organisations.map((issuer) => ({ issuer }));
  return [
    ...permit(
      ['all'],
      [...(isTrue('orgsGrantWritePermission') ? issuers : []), ...vos.map((vo) => ({ vo }))],
    ),
    ...permit(
      ['list', 'read'],
      [
        ...(isTrue('anonymousReadEnabled') ? (['anyone'] as const) : []),
        ...(isTrue('authenticatedReadEnabled') ? (['any-authenticated'] as const) : []),
        ...(isTrue('orgsGrantReadPermission') ? issuers : []),
      ],
    ),
  ];
}

/** StoRM's `sa.d/*.properties` as one instance with an area for each (brief teapot 3.4). */
export function importStorm(files: ReadonlyMap<string, string>, options: StormOptions = {}): Imported {
  const notes: string[] = [];
  const areas: { name: string; path: string; root: string; read_only?: true; policies?: Policy[] }[] = [];
  const issuers = new Set<string>();
  for (const [file, text] of files) {
    const values = parseProperties(text);
    const isTrue = (key: string) =>
      (values.get(key) ?? String(DEFAULTS[key] ?? false)).toLowerCase() === 'true';
    const root = values.get('rootPath');
    const name = values.get('name') ?? file;
    if (root === undefined) {
      notes.push(`${file}: no rootPath; left out.`);
      continue;
    }
    const organisations = splitList(values.get('orgs'));
    for (const issuer of organisations) issuers.add(issuer);
    const vos = splitList(values.get('vos')).filter((vo) => vo !== '*');
    const writable =
      vos.length > 0 ||
      [
        'orgsGrantWritePermission',
        'wlcgScopeAuthzEnabled',
        'fineGrainedAuthzEnabled',
        'voMapGrantsWriteAccess',
      ].some(isTrue);
    const policies = policiesOf({ isTrue, organisations, vos });
    const points = splitList(values.get('accessPoints') ?? `/${name}`);
    for (const point of points) {
      const taken = areas.map((area) => area.name);
      areas.push({
        name: areaName(points.length === 1 ? name : point, taken),
        path: areaPath(point),
        root,
        ...(writable ? {} : { read_only: true }),
        ...(policies.length === 0 ? {} : { policies }),
      });
    }
    if (!writable) notes.push(`${file}: nobody could write there; the area is read_only.`);
    if (vos.length > 0)
      notes.push(
        `${file}: vos ${vos.join(', ')}: for their proxies set client_certificates (docs/client-certificates.md); tokens of the VO's issuer need nothing.`,
      );
    const fromOrganisations = organisations.length > 0;
    for (const [key, instead] of Object.entries(WHEN_TRUE)) {
      if (isTrue(key)) notes.push(`${file}: ${key}: ${instead}.`);
    }
    if (fromOrganisations && !isTrue('wlcgScopeAuthzEnabled'))
      notes.push(`${file}: wlcgScopeAuthzEnabled was off; here scopes always decide.`);
    for (const key of values.keys()) {
      const known = USED.includes(key) || key in WHEN_TRUE || key === 'wlcgScopeAuthzEnabled';
      if (!known) notes.push(`${file}: ${key}: not known.`);
    }
  }
  if (options.url === undefined)
    notes.push(
      'storage.instances[0].url: the files do not say what the service is called; put its name there.',
    );
  if (issuers.size === 0) notes.push('issuers: no orgs; nobody can sign in before an issuer is named.');
  const url = options.url ?? 'https://storage.example.org:8443';
  const port = Number(new URL(url).port || 443);
  const instance = { site: options.site ?? 'site', listen: { host: '0.0.0.0', port }, url, areas };
  return {
    configuration: {
      issuers: [...issuers].map((issuer) => ({ issuer })),
      storage: { instances: [instance] },
    },
    notes,
  };
}
