import { baseUrlSchema, listenSchema, secretSchema } from '@weft/kernel/config';
import { z } from 'zod';
import { policySchema, principalRuleSchema } from './access-config.ts';

const quotaSchema = z
  .strictObject({
    bytes: z.int().positive().optional().describe('All files of the area together'),
    user_bytes: z
      .int()
      .positive()
      .optional()
      .describe('Files of each user: what they uploaded, in multi-user mode what their local account owns'),
    recount_seconds: z
      .number()
      .positive()
      .default(3600)
      .describe('How often the files are counted anew, because others change them underneath'),
  })
  .describe('Limits besides those of the file system; PUT and copies beyond them are answered with 507');

const areaTapeSchema = z
  .strictObject({
    archive_after_seconds: z
      .number()
      .nonnegative()
      .default(60)
      .describe('How long after an upload the file is copied to tape'),
    evict_after_seconds: z
      .number()
      .nonnegative()
      .default(86_400)
      .describe('How long after that its content leaves the disk, when nobody has pinned it: a stub stays'),
  })
  .describe('Files of the area go to the simulated tape system of the instance');

const areaSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]*$/)
    .describe('Names the area in tables, metrics and logs; never change it'),
  path: z
    .string()
    .regex(/^\/([^/]+(\/[^/]+)*)?$/, 'must begin with a slash and not end in one')
    .default('/')
    .describe('Where the area appears below the URL: "/" or "/data"'),
  root: z
    .string()
    .regex(/^(\/|\{home\})/, 'must begin with a slash or {home}')
    .describe(
      'Folder on this machine; made when it is missing. In multi-user mode {username}, {uid} and {home} stand for the local account',
    ),
  quota: quotaSchema.optional(),
  tape: areaTapeSchema.optional(),
  read_only: z.boolean().default(false).describe('Refuse every change'),
  issuers: z.array(z.string()).min(1).optional().describe('Serve only users of these issuers; default: all'),
  policies: z
    .array(policySchema)
    .default([])
    .describe(
      'What callers may do whose tokens carry no storage scopes, by group and the like, and what nobody may do; the first that matches decides',
    ),
  stage_implies_read: z
    .boolean()
    .default(false)
    .describe('A scope storage.stage lets its bearer read, too, as before version 1.2 of the WLCG profile'),
  durability: z
    .enum(['full', 'data', 'none'])
    .default('data')
    .describe(
      'What an upload waits for: bytes and metadata (full), bytes and size (data), or nothing (none, for scratch)',
    ),
  umask: z
    .string()
    .regex(/^0[0-7]{3}$/)
    .default('0027')
    .transform((octal) => Number.parseInt(octal, 8))
    .describe('Permission bits that new files and folders do not get, octal'),
});

const thirdPartyCopySchema = z.strictObject({
  marker_seconds: z.number().positive().max(30).default(5).describe('Time between two performance markers'),
  first_byte_seconds: z
    .number()
    .positive()
    .default(120)
    .describe('Give up when the other side is silent for so long at first'),
  idle_seconds: z.number().positive().default(60).describe('Give up when no byte has moved for so long'),
  require_checksum: z
    .boolean()
    .default(false)
    .describe('Fail a copy whose source tells no checksum, when the request does not say'),
  minimum_bytes_per_second: z
    .number()
    .nonnegative()
    .default(10_240)
    .describe('Give up when less than this moves, on average over slow_seconds; 0: never'),
  slow_seconds: z.number().positive().default(120).describe('Time over which the speed is judged'),
  retry_seconds: z
    .number()
    .positive()
    .default(1)
    .describe(
      'First pause before a source that is busy or cannot be reached is asked again, or a broken connection is taken up; doubled each time',
    ),
  block_bytes: z
    .int()
    .min(65_536)
    .default(8 * 1024 * 1024)
    .describe('What each connection of a pull over several streams asks for at once'),
  expect_continue_bytes: z
    .int()
    .nonnegative()
    .default(1024 * 1024)
    .describe('A push of so much or more asks first (Expect: 100-continue)'),
  maximum_unknown_bytes: z
    .int()
    .positive()
    .default(16 * 1024 ** 3)
    .describe('The most that is taken from a source that does not tell the length of its file'),
  flowd_pipe: z
    .string()
    .startsWith('/')
    .optional()
    .describe('Where flowd listens (/var/run/flowd): told of connections of copies that carry a SciTag'),
  maximum: z.int().positive().default(100).describe('Third-party copies at once; more are answered with 503'),
  maximum_per_user: z.int().positive().default(50).describe('Of these, copies at once for one user'),
});

const mappingMethodSchema = z.discriminatedUnion('method', [
  z.strictObject({
    method: z.literal('alise'),
    url: baseUrlSchema.optional().describe('Account-linking service; default: identity.url'),
    site: z.string().optional().describe('Name of this computing centre there; default: the site'),
    api_key: secretSchema
      .optional()
      .describe('API key of an original ALISE; without it the service shows a token of its own'),
  }),
  z.strictObject({
    method: z.literal('file'),
    file: z.string().startsWith('/').describe('Lines "account subject issuer"; read again when it changes'),
    issuer: z
      .string()
      .optional()
      .describe("Of lines that name none (Teapot's form); without it such lines map nobody"),
  }),
  z.strictObject({
    method: z.literal('group'),
    issuer: z.string().describe('Whose groups and entitlements count'),
    pairs: z
      .array(z.strictObject({ group: z.string(), account: z.string() }))
      .min(1)
      .describe('The first group that the user is in decides'),
  }),
  z.strictObject({
    method: z.literal('claim'),
    issuer: z.string().describe('An issuer that has authority over the names of local accounts'),
    claim: z.string().default('preferred_username').describe('Claim of the access token'),
    pattern: z.string().default('^(.+)$').describe('Regular expression whose first group is the account'),
  }),
  z.strictObject({
    method: z.literal('pool'),
    name: z.string().default('pool').describe('Names the pool in the database; never change it'),
    issuer: z.string().describe('Whose users are served'),
    group: z.string().optional().describe('Only members of this group, compared exactly'),
    accounts: z
      .array(z.string())
      .min(1)
      .describe('Local accounts that are lent, one to each user: "grid[001-200]"'),
    recycle_days: z
      .int()
      .positive()
      .optional()
      .describe(
        'An account unused for so long is lent to somebody else, with the files in it; default: never',
      ),
  }),
]);

const multiUserSchema = z.strictObject({
  mapping: z
    .array(mappingMethodSchema)
    .min(1)
    .describe('How users become local accounts; the first method that knows a user decides'),
  minimum_uid: z.int().min(1).default(1000).describe('Accounts below are never served'),
  denied_accounts: z.array(z.string()).default([]).describe('Accounts that are never served'),
  denied_shells: z
    .array(z.string().startsWith('/'))
    .default([])
    .describe(
      'Login shells whose accounts are never served: /usr/sbin/nologin where a locked account has that',
    ),
  allowed_groups: z
    .array(z.string())
    .default([])
    .describe('Serve only accounts in one of these local groups; empty: all'),
  maximum_workers: z.int().positive().default(200).describe('Users served at once, a process'),
  worker_memory_bytes: z
    .int()
    .min(64 * 1024 ** 2)
    .default(512 * 1024 ** 2)
    .describe('What a worker may take; one that wants more ends, and is started again'),
  worker_cgroup: z
    .string()
    .startsWith('/')
    .optional()
    .describe(
      'Folder of cgroup v2 with the memory controller, in which the service may make groups for workers; without it RLIMIT_DATA is the limit',
    ),
  anonymous_account: z
    .string()
    .optional()
    .describe('Local account of callers without a credential, where a policy lets anyone in'),
  idle_seconds: z
    .number()
    .positive()
    .default(600)
    .describe('A worker that nobody has used for so long is stopped'),
});

const spaceReportSchema = z.strictObject({
  path: z
    .string()
    .regex(/^\/[\w./-]+$/)
    .default('/srr.json')
    .describe('Where the storage resource report is, besides /.weft/srr; no file of that name can be served'),
  public: z.boolean().default(true).describe('Tell it to callers without a token, as CRIC and Rucio are'),
  name: z.string().optional().describe('Of the storage service; default: the site'),
  vos: z.array(z.string()).default([]).describe('Virtual organisations that the areas serve'),
  quality: z.enum(['development', 'testing', 'pre-production', 'production']).default('production'),
  refresh_seconds: z.number().positive().default(60).describe('How old the numbers may be'),
});

const DAY_SECONDS = 86_400;

const tapeSchema = z
  .strictObject({
    site_name: z.string().optional().describe('As discovery tells it; default: the site'),
    description: z.string().default('').describe('As discovery tells it'),
    library: z
      .string()
      .startsWith('/')
      .optional()
      .describe(
        'Folder that plays the tape library, with one below it for each site; default: below the data folder. Shared by all processes',
      ),
    drives: z.int().positive().default(2).describe('Recalls and archivings at once, a process'),
    mount_seconds: z
      .number()
      .nonnegative()
      .default(0)
      .describe('What each of them waits before its first byte'),
    bytes_per_second: z.int().positive().optional().describe('Speed of a drive; default: that of the disk'),
    failure_rate: z.number().min(0).max(1).default(0).describe('Part of the attempts that fail, from 0 to 1'),
    attempts: z.int().positive().default(3).describe('A recall that has failed so often is given up'),
    lease_seconds: z
      .number()
      .positive()
      .default(30)
      .describe('Work of a process that died is taken over after so long'),
    pin_seconds: z
      .int()
      .positive()
      .default(DAY_SECONDS)
      .describe('How long a staged file stays on disk at least'),
    maximum_pin_seconds: z
      .int()
      .positive()
      .default(30 * DAY_SECONDS)
      .describe('The longest that may be asked for'),
  })
  .describe(
    'The WLCG tape REST interface. Areas without tape of their own answer as disk; in those with tape a simulated system archives and recalls files',
  );

const macaroonsSchema = z.strictObject({
  enabled: z.boolean().default(true).describe('Make macaroons for callers with a token, and accept them'),
  maximum_lifetime_seconds: z
    .int()
    .min(60)
    .max(7 * 86_400)
    .default(12 * 3600)
    .describe('A macaroon that is asked for a longer life gets this one'),
  key_rotation_days: z
    .int()
    .positive()
    .default(30)
    .describe('Age at which the key that signs macaroons is replaced; the old one verifies on while it must'),
});

/** One storage instance: one site, one listener. */
export const storageConfig = z.strictObject({
  site: z.string().min(1).describe('Name of the site; tables, metrics and events carry it'),
  listen: listenSchema,
  url: baseUrlSchema.describe('The address that others use; also the audience of tokens'),
  hostnames: z
    .array(z.string())
    .default([])
    .describe('Other authorities (host or host:port) under which clients name this service'),
  audiences: z
    .array(z.string())
    .default([])
    .describe('Accepted audiences besides the URL, host:port and host'),
  processes: z
    .union([z.literal('auto'), z.int().min(1).max(64)])
    .default('auto')
    .describe(
      'Processes that serve the instance together on its port, each with one event loop; auto: one a core, four at most',
    ),
  client_certificates: z
    .boolean()
    .default(false)
    .describe('Ask for client certificates; `client_certificates` at the top says whom to trust'),
  areas: z.array(areaSchema).min(1).describe('What is served'),
  issuer_prefixes: z
    .record(z.string(), z.string().startsWith('/'))
    .default({})
    .describe(
      'Where the paths in scopes of an issuer begin: with "/cms", its storage.read:/data is about /cms/data; default: at the root',
    ),
  administrators: z
    .array(principalRuleSchema)
    .default([])
    .describe('Who sees and ends the workers and third-party copies of everybody'),
  app_passwords: z
    .boolean()
    .default(true)
    .describe('Accept Basic with app passwords, for clients that know no tokens (mounted drives)'),
  macaroons: macaroonsSchema.prefault({}),
  space_report: spaceReportSchema.prefault({}),
  tape: tapeSchema.optional(),
  token_in_query: z
    .boolean()
    .default(false)
    .describe('Accept ?authz= and ?access_token=, so that links with a macaroon can be given to people'),
  cors_origins: z
    .array(z.string().regex(/^(\*|https?:\/\/[^/]+)$/, 'must be an origin, or *'))
    .default([])
    .describe('Origins of web pages that may read answers: "https://portal.example.org", or "*" for all'),
  maximum_requests_per_user: z
    .int()
    .positive()
    .default(1000)
    .describe(
      'Requests of one user at once; more are answered with 503, so that nobody keeps others waiting; shared out among processes',
    ),
  put_replace_status: z
    .union([z.literal(200), z.literal(201), z.literal(204)])
    .default(204)
    .describe('Status of a PUT that replaced a file'),
  delete_collections: z
    .enum(['recursive', 'refuse'])
    .default('recursive')
    .describe(
      'Whether DELETE of a collection removes what is in it, or is refused (412) while it is not empty',
    ),
  third_party_copy: thirdPartyCopySchema.prefault({}),
  identity: z
    .strictObject({ url: baseUrlSchema })
    .optional()
    .describe('Account-linking service (ALISE API) that maps users to local accounts, in multi-user mode'),
  multi_user: multiUserSchema
    .optional()
    .describe(
      'Serve each user as the local account that they are mapped to; needs root, or the capabilities to change users. Without it, everything is done as the account of the service',
    ),
});

export type StorageConfig = z.output<typeof storageConfig>;
export type AreaConfig = StorageConfig['areas'][number];
export type MultiUserConfig = NonNullable<StorageConfig['multi_user']>;

/** The section `storage` of `weft.yaml`: one entry a site, each served by a process of its own. */
export const storageSection = z.strictObject({ instances: z.array(storageConfig).default([]) });
