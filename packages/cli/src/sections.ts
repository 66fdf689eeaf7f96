import { audiencesOf } from './audiences.ts';
import { AGENT_CLIENT, CLI_CLIENT } from './endpoints.ts';
import { SITES } from './federation.ts';
import type { Surroundings } from './surroundings.ts';

const PREFIX = '/rucio';
const NODE_IMAGE = 'docker.io/library/node:24-alpine';

/** Suspending users and changing keys at the issuer. */
const ADMINISTRATION = 'iam:admin.write';

/** The client with which account linking signs people in, at both issuers. */
export const LINKING_CLIENT = 'linking';

/** The components' sections of the embedded default: docs/seams.md as configuration. */
export function sectionsOf(surroundings: Surroundings): Record<string, unknown> {
  return {
    identity: identitySection(surroundings),
    storage: storageSection(surroundings),
    datalake: datalakeSection(surroundings),
    transfer: transferSection(surroundings),
    orchestrator: orchestratorSection(surroundings),
    compute: computeSection(surroundings),
    accounting: accountingSection(surroundings),
  };
}

const listen = (port: number, host = '127.0.0.1') => ({ host, port });

function identitySection(surroundings: Surroundings) {
  const { ports, endpoints, subjectOf, secretFileOf, cliKey } = surroundings;
  const storages = Object.values(endpoints.sites).map(({ storage }) => storage);
  const computes = Object.values(endpoints.sites).flatMap(({ compute }) => (compute ? [compute] : []));
  const computeScopes = ['compute.read', 'compute.create', 'compute.cancel', 'compute.modify'];
  const storageScopes = ['storage.read:/', 'storage.create:/', 'storage.modify:/', 'storage.stage:/'];
  const everything = audiencesOf(endpoints);
  const client = (id: string, more: Record<string, unknown>) => ({
    id,
    secret_file: secretFileOf(id),
    grants: ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange', 'refresh_token'],
    ...more,
  });
  const siteNames = SITES.map(({ name }) => name);
  const linkingScopes = siteNames.flatMap((site) => [`alise.mapping:${site}`, `alise.admin:${site}`]);
  const userScopes = [
    'openid',
    'profile',
    'email',
    'offline_access',
    'wlcg.groups',
    'fts',
    'accounting.read',
  ];
  return {
    listen: listen(ports.issuer),
    url: endpoints.issuer,
    title: 'Weft: community accounts',
    development_profile: true,
    registration: { mode: 'open', scopes: storageScopes },
    users: [
      {
        username: 'alice',
        subject: subjectOf('alice'),
        password_file: secretFileOf('user-alice'),
        name: 'Alice Example',
        email: 'alice@example.org',
        groups: ['/drought'],
        scopes: [
          ...userScopes,
          'storage.read:/',
          `storage.create:${PREFIX}/drought`,
          `storage.modify:${PREFIX}/drought`,
          'compute.read',
          'compute.create',
          'compute.cancel',
        ],
      },
      {
        username: 'obs-bot',
        subject: subjectOf('obs-bot'),
        name: 'Observation uploader',
        groups: ['/drought'],
        scopes: ['openid', 'profile', 'storage.read:/', `storage.create:${PREFIX}/drought`],
      },
      {
        username: 'admin',
        subject: subjectOf('admin'),
        password_file: secretFileOf('user-admin'),
        name: 'Administrator',
        groups: ['/admin'],
        scopes: [...userScopes, ...storageScopes, ...computeScopes, ...linkingScopes, ADMINISTRATION],
      },
    ],
    clients: [
      client('datalake', {
        resources: [endpoints.datalake, 'rucio'],
        allow: [
          { audience: endpoints.transfer, scopes: ['fts', 'fts:submit-transfer'] },
          ...storages.map((audience) => ({ audience, scopes: storageScopes })),
        ],
      }),
      client('orchestrator', {
        resources: [endpoints.orchestrator],
        allow: [
          { audience: endpoints.datalake, scopes: ['openid', 'profile'] },
          { audience: computes, scopes: ['compute.read'] },
        ],
        exchange: [
          { audience: endpoints.datalake, scopes: ['openid', 'profile'], offline: true },
          ...computes.map((audience) => ({
            audience,
            scopes: ['openid', 'profile', 'wlcg.groups', ...computeScopes, ...storageScopes],
            offline: true,
          })),
        ],
      }),
      client('compute', {
        resources: computes,
        allow: [{ audience: endpoints.accounting, scopes: ['accounting.publish'] }],
        exchange: [
          { audience: endpoints.datalake, scopes: ['openid', 'profile'], offline: true },
          ...storages.map((audience) => ({ audience, scopes: storageScopes, offline: true })),
        ],
      }),
      client('storage', {
        resources: storages,
        allow: [
          {
            audience: endpoints.identity,
            scopes: siteNames.map((site) => `alise.mapping:${site}`),
          },
        ],
      }),
      client('transfer', { resources: [endpoints.transfer] }),
      client('accounting', { resources: [endpoints.accounting] }),
      {
        id: CLI_CLIENT,
        jwk: cliKey,
        grants: ['urn:ietf:params:oauth:grant-type:jwt-bearer'],
        // What a user gets is bounded by the user's own scopes.
        allow: [
          {
            audience: everything,
            scopes: [...userScopes, ...storageScopes, ...computeScopes, ...linkingScopes],
          },
          { audience: endpoints.issuer, scopes: [ADMINISTRATION] },
        ],
      },
      agentClient(everything, [...userScopes, ...storageScopes, ...computeScopes]),
      linkingClient(surroundings),
    ],
    second_issuer: siteIssuer(surroundings),
    alise: {
      listen: listen(ports.identity),
      url: endpoints.identity,
      sites: siteNames.map((name) => linkingSite(surroundings, name)),
    },
  };
}

/** People's tools. By password too, as the test rigs of Teapot and FTS sign in. */
function agentClient(audience: readonly string[], scopes: readonly string[]) {
  return {
    id: AGENT_CLIENT,
    name: 'oidc-agent',
    grants: [
      'authorization_code',
      'refresh_token',
      'urn:ietf:params:oauth:grant-type:device_code',
      'password',
    ],
    redirect_uris: ['http://localhost/', 'edu.kit.data.oidc-agent:/redirect'],
    allow: [{ audience, scopes }],
  };
}

function linkingClient({ endpoints, secretFileOf }: Surroundings) {
  return {
    id: LINKING_CLIENT,
    name: 'Account linking',
    secret_file: secretFileOf(LINKING_CLIENT),
    grants: ['authorization_code'],
    redirect_uris: [`${endpoints.identity}/callback`],
  };
}

/** Where the people of the sites have their accounts: the other half of a link. */
function siteIssuer(surroundings: Surroundings) {
  const { ports, endpoints, subjectOf, secretFileOf, cliKey } = surroundings;
  return {
    listen: listen(ports.siteIssuer),
    url: endpoints.site_issuer,
    title: 'Weft: site accounts',
    development_profile: true,
    registration: { mode: 'open' },
    users: [
      {
        username: 'alice01',
        subject: subjectOf('alice01'),
        password_file: secretFileOf('user-alice01'),
        name: 'Alice Example',
        scopes: ['openid', 'profile', 'offline_access'],
      },
    ],
    clients: [
      linkingClient(surroundings),
      agentClient([endpoints.identity], ['openid', 'profile', 'offline_access']),
      {
        id: CLI_CLIENT,
        jwk: cliKey,
        grants: ['urn:ietf:params:oauth:grant-type:jwt-bearer'],
        allow: [{ audience: endpoints.identity, scopes: ['openid', 'profile'] }],
      },
    ],
  };
}

/** alice links her account by herself; the observatory's robot is linked by its administrator. */
function linkingSite({ endpoints, subjectOf, secretFileOf }: Surroundings, name: string) {
  const login = { client_id: LINKING_CLIENT, client_secret_file: secretFileOf(LINKING_CLIENT) };
  const robot = {
    username: 'obs-bot',
    display_name: 'Observation uploader',
    external: [{ issuer: endpoints.issuer, subject: subjectOf('obs-bot') }],
  };
  return {
    name,
    internal: [{ name, issuer: endpoints.site_issuer, ...login }],
    external: [{ name: 'community', title: 'the Weft community', issuer: endpoints.issuer, ...login }],
    links: name === 'observatory' ? [robot] : [],
  };
}

function storageSection({ endpoints, folder, ports, subjectOf }: Surroundings) {
  return {
    instances: SITES.map((site) => ({
      site: site.name,
      listen: listen(ports.storage(site.index), site.host),
      url: endpoints.sites[site.name]?.storage,
      identity: { url: endpoints.identity },
      administrators: [{ subject: subjectOf('admin'), issuer: endpoints.issuer }],
      // Several storages and everything else share the machine.
      processes: 1,
      areas: [{ name: 'default', path: '/', root: folder.site(site.name, 'storage') }],
    })),
  };
}

function datalakeSection({ endpoints, ports, subjectOf }: Surroundings) {
  const account = (name: string, username: string, type: string) => ({
    name,
    type,
    email: `${username}@example.org`,
    identities: [{ type: 'OIDC', identity: `SUB=${subjectOf(username)}, ISS=${endpoints.issuer}` }],
  });
  return {
    listen: listen(ports.datalake),
    url: endpoints.datalake,
    accounts: [
      { ...account('root', 'admin', 'SERVICE'), admin: true },
      account('alice', 'alice', 'USER'),
      account('obs-bot', 'obs-bot', 'SERVICE'),
    ],
    transfer: { url: endpoints.transfer },
  };
}

function transferSection({ endpoints, ports }: Surroundings) {
  return {
    listen: listen(ports.transfer),
    url: endpoints.transfer,
    vo_of_issuer: { [endpoints.issuer]: 'weft' },
  };
}

function orchestratorSection({ endpoints, ports }: Surroundings) {
  return {
    listen: listen(ports.orchestrator),
    url: endpoints.orchestrator,
    datalake: { url: endpoints.datalake },
    providers: SITES.flatMap((site) =>
      site.compute
        ? [
            {
              name: site.name,
              kind: 'interlink',
              url: endpoints.sites[site.name]?.compute,
              node: site.compute.node,
              rse: site.rse,
            },
          ]
        : [],
    ),
  };
}

function computeSection({ endpoints, folder, ports }: Surroundings) {
  return {
    datalake: { url: endpoints.datalake },
    accounting: { url: endpoints.accounting },
    sites: SITES.flatMap((site) => {
      const at = endpoints.sites[site.name];
      if (!site.compute || !at) return [];
      return [
        {
          name: site.name,
          node: site.compute.node,
          listen: listen(ports.interlink(site.index), site.host),
          url: at.compute,
          backend: site.compute.backend,
          slots: site.compute.slots,
          images: { [NODE_IMAGE]: 'builtin:node' },
          storage: { rse: site.rse, url: at.storage },
          work_folder: folder.site(site.name, 'jobs'),
          scratch: { folder: folder.site(site.name, 'scratch'), mount: '/scratch' },
        },
      ];
    }),
  };
}

function accountingSection({ endpoints, ports }: Surroundings) {
  return { listen: listen(ports.accounting), url: endpoints.accounting };
}
