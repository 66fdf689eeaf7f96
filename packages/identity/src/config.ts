import { baseUrlSchema, listenSchema, secretSchema } from '@weft/kernel/config';
import { z } from 'zod';

const scopesSchema = z
  .array(
    z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'a scope is printable ASCII without spaces and quotes'),
  )
  .default([]);

const audiencesSchema = z
  .union([z.string().min(1), z.array(z.string().min(1))])
  .transform((audience) => (typeof audience === 'string' ? [audience] : audience));

const groupSchema = z.string().regex(/^(\/[a-zA-Z0-9][a-zA-Z0-9_.-]*)+$/, 'a group looks like /vo/group');

const userSchema = z.strictObject({
  username: z.string().min(1).describe('What the person is called here; unique'),
  subject: z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/)
    .describe('`sub` of the tokens: opaque, never given to anybody else'),
  name: z.string().optional(),
  email: z.email().optional(),
  groups: z.array(groupSchema).default([]).describe('Default groups of `wlcg.groups`, in order'),
  optional_groups: z
    .array(groupSchema)
    .default([])
    .describe('Groups that appear only when a token request names them'),
  entitlements: z.array(z.string()).default([]).describe('`eduperson_entitlement` and `entitlements`'),
  assurance: z.array(z.string()).default([]).describe('`eduperson_assurance`'),
  affiliations: z.array(z.string()).default([]).describe('`eduperson_scoped_affiliation`'),
  voperson_id: z.string().optional(),
  password: secretSchema.optional().describe('For the sign-in page; without one the person cannot use it'),
  password_file: z.string().optional().describe('File that holds the password alone'),
  scopes: scopesSchema.describe(
    'Scopes that the user may have besides openid, profile, email, …; `name:*` is a pattern',
  ),
});

const allowanceSchema = z
  .strictObject({ audience: audiencesSchema.describe('One or several; `*` is any'), scopes: scopesSchema })
  .transform(({ audience, scopes }) => ({ audiences: audience, scopes }));

const exchangeSchema = z
  .strictObject({
    audience: audiencesSchema,
    scopes: scopesSchema.describe('The most that this client gets for the audience'),
    extras: scopesSchema.describe('Scopes that it gets although the subject token lacks them'),
    offline: z.boolean().default(false).describe('May it get a refresh token (`offline_access`)'),
  })
  .transform(({ audience, ...rest }) => ({ audiences: audience, ...rest }));

/** Grant types by their names on the wire (RFC 6749, 7523, 8628, 8693). */
export const GRANT_TYPES = [
  'client_credentials',
  'refresh_token',
  'authorization_code',
  'password',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:ietf:params:oauth:grant-type:token-exchange',
  'urn:ietf:params:oauth:grant-type:jwt-bearer',
] as const;

export type GrantType = (typeof GRANT_TYPES)[number];

const clientSchema = z
  .strictObject({
    id: z.string().regex(/^[\x21-\x39\x3b-\x7e]{1,255}$/, 'printable ASCII without spaces and colons'),
    name: z.string().optional().describe('Shown to people; default: the id'),
    secret: secretSchema.optional(),
    secret_file: z.string().optional().describe('File that holds the secret alone'),
    jwk: z
      .looseObject({ kty: z.enum(['RSA', 'EC']) })
      .optional()
      .describe('Public key that signs assertions'),
    jwk_file: z.string().optional().describe('File with that key as JSON; private members are ignored'),
    grants: z.array(z.enum(GRANT_TYPES)).default([]),
    redirect_uris: z.array(z.string()).default([]),
    post_logout_redirect_uris: z
      .array(z.string())
      .default([])
      .describe('Where people are led back to when they sign out'),
    backchannel_logout_uri: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe('Where it is told that somebody has signed out (a logout token by POST)'),
    pkce: z
      .enum(['required', 'optional'])
      .default('required')
      .describe('`optional` only for confidential clients too old for it'),
    resources: z.array(z.string()).default([]).describe('Audiences that the client itself answers to'),
    allow: z
      .array(allowanceSchema)
      .default([])
      .describe('Audiences and scopes that it may ask for; nothing else'),
    exchange: z
      .array(exchangeSchema)
      .default([])
      .describe("What it may get for a user's token; nothing else"),
  })
  .refine((client) => !client.grants.includes('client_credentials') || client.secret || client.secret_file, {
    message: 'client_credentials needs secret or secret_file',
  });

const realmShape = {
  listen: listenSchema,
  url: baseUrlSchema.describe('The issuer, byte for byte as in `iss`; at the root of a host'),
  title: z.string().min(1).max(100).optional().describe('Shown above its pages; default: the host'),
  organisation: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('`organisation_name` at userinfo, as IAM has it'),
  development_profile: z
    .boolean()
    .default(false)
    .describe('Seeded users and the JWT bearer grant of weft-cli; only on loopback'),
  access_token_seconds: z
    .int()
    .min(60)
    .max(6 * 3600)
    .default(3600),
  refresh_token_days: z.int().min(1).max(400).default(30),
  refresh_grace_seconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(60)
    .describe('How long a rotated refresh token stays good'),
  profile_claims: z
    .array(z.enum(['preferred_username', 'name', 'email', 'groups']))
    .default(['preferred_username'])
    .describe('Claims that access tokens carry when their scope (profile, email) was granted'),
  registration: z
    .strictObject({
      mode: z
        .enum(['off', 'open', 'token'])
        .default('off')
        .describe(
          'Whether clients may register themselves (RFC 7591): never, all, or with the initial access token',
        ),
      initial_access_token: secretSchema.optional(),
      initial_access_token_file: z.string().optional().describe('File that holds that token alone'),
      unused_days: z.int().min(1).default(7).describe('Then a client that nobody has used goes'),
      scopes: scopesSchema.describe('What such clients may ask for besides openid, profile, …'),
    })
    .refine(
      ({ mode, initial_access_token: token, initial_access_token_file: file }) =>
        mode !== 'token' || token !== undefined || file !== undefined,
      { message: 'mode token needs initial_access_token or initial_access_token_file' },
    )
    .prefault({}),
  limits: z
    .strictObject({
      failures: z
        .int()
        .min(1)
        .default(20)
        .describe('Failed authentications of one client from one network, then nothing for five minutes'),
      failures_per_network: z
        .int()
        .min(1)
        .default(200)
        .describe('The same for one network; clients that have proved themselves there are let through'),
      registrations_per_hour: z.int().min(1).default(60).describe('Clients that one network may register'),
      device_codes_per_hour: z.int().min(1).default(600).describe('Device flows that one network may begin'),
    })
    .prefault({})
    .describe('Over all processes; a network is an IPv4 address or an IPv6 /64'),
  users: z.array(userSchema).default([]),
  clients: z.array(clientSchema).default([]),
};

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;
const onLoopback = (realm: { development_profile: boolean; listen: { host: string } }) =>
  !realm.development_profile || LOOPBACK.test(realm.listen.host);
const LOOPBACK_ONLY = {
  message:
    'development_profile is refused on an address that others can reach: set listen.host to 127.0.0.1, or switch it off',
  path: ['development_profile'],
};

const realmSchema = z.strictObject(realmShape).refine(onLoopback, LOOPBACK_ONLY);

const federatedSchema = z.strictObject({ issuer: z.string().min(1), subject: z.string().min(1).max(255) });
const providerSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/),
  issuer: z.string().min(1),
  title: z.string().optional().describe('Shown to people; default: the name'),
  client_id: z.string().optional().describe('Without one, nobody can sign in there from the pages'),
  client_secret: secretSchema.optional(),
  client_secret_file: z.string().optional().describe('File that holds the secret alone'),
  scopes: z.array(z.string()).default(['openid', 'profile']),
  username_claim: z
    .string()
    .default('preferred_username')
    .describe('Claim of a site’s own provider that is the name of the local account'),
  required_assurance: z.array(z.string()).default([]).describe('Values that `eduperson_assurance` must have'),
  required_entitlements: z
    .array(z.string())
    .default([])
    .describe('AARC entitlements, all of which the person must have'),
  require_verified_email: z
    .boolean()
    .default(false)
    .describe('Whether `email_verified` must be true; needs the scope email'),
  admin_entitlements: z
    .array(z.string())
    .default([])
    .describe('Groups or entitlements whose holders may make API keys by `get_apikey`; empty: nobody'),
  admin_entitlement_claim: z
    .string()
    .default('eduperson_entitlement')
    .describe('Claim of userinfo that is looked at besides groups and entitlements of the token'),
  link_days: z.int().min(1).max(3650).optional().describe('After so many days a link must be made anew'),
});

/** What an API key is for: reading mappings, or administering the site as well. */
export const KEY_SCOPES = ['alise.mapping', 'alise.admin'] as const;

const siteSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]*$/i),
  internal: z.array(providerSchema).default([]).describe("The site's own providers"),
  external: z.array(providerSchema).default([]).describe('Community providers'),
  links: z
    .array(
      z.strictObject({
        username: z.string().regex(/^[a-z_][a-z0-9_.-]{0,63}$/, 'a Unix user name'),
        uid: z.int().min(0).optional(),
        gid: z.int().min(0).optional(),
        groups: z.array(z.string()).default([]).describe('Local groups; services get them with the mapping'),
        display_name: z.string().optional(),
        internal: federatedSchema.optional().describe('Who the account is at the site’s own provider'),
        external: z.array(federatedSchema).default([]),
      }),
    )
    .default([])
    .describe('Links that the administrator makes; people make theirs in the browser'),
  import: z
    .strictObject({
      alise_database: z.string().optional().describe('File `alise_<site>.db` of an ALISE'),
      mapping_file: z
        .strictObject({ file: z.string(), issuer: z.string().min(1) })
        .optional()
        .describe('File of Teapot with `username sub` a line, and the issuer of the subjects'),
    })
    .optional()
    .describe('Links to take over from other programs; what is known here already stays'),
  api_keys: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        secret: secretSchema.optional(),
        secret_file: z.string().optional(),
        scopes: z.array(z.enum(KEY_SCOPES)).min(1).default(['alise.mapping']),
        allowed_addresses: z
          .array(z.union([z.cidrv4(), z.cidrv6()]))
          .default([])
          .describe('Networks from which the key is good; empty: all'),
      }),
    )
    .default([]),
  links_per_account: z.int().min(1).max(1000).default(20).describe('Identities that one account may have'),
  audit_look_ups: z
    .boolean()
    .default(false)
    .describe('Whether every look-up becomes an audit row, not only changes'),
});

const aliseSchema = z.strictObject({
  listen: listenSchema,
  url: baseUrlSchema,
  client_certificates: z
    .boolean()
    .default(false)
    .describe('Ask for client certificates; `client_certificates` at the top says whom to trust'),
  sign_in_seconds: z
    .int()
    .min(10)
    .max(3600)
    .default(600)
    .describe('How long a person may take at a provider and on the confirmation page, together'),
  sites: z.array(siteSchema).default([]),
});

export const configSchema = z
  .strictObject({
    ...realmShape,
    second_issuer: realmSchema
      .optional()
      .describe('Another issuer in the same process, with users and keys of its own'),
    audit_days: z
      .int()
      .min(30)
      .default(365)
      .describe('How long the audit log is kept, and with it the names in it'),
    alise: aliseSchema.optional().describe('Account linking'),
  })
  .refine(onLoopback, LOOPBACK_ONLY);

export type IdentityConfig = z.output<typeof configSchema>;
export type RealmConfig = z.output<typeof realmSchema>;
export type UserConfig = RealmConfig['users'][number];
export type ClientConfig = RealmConfig['clients'][number];
export type AliseConfig = z.output<typeof aliseSchema>;
export type ProviderConfig = SiteConfig['external'][number];
export type SiteConfig = AliseConfig['sites'][number];
