import { z } from 'zod';
import { baseUrlSchema, secretSchema } from '../config/index.ts';
import { subscriptionSchema } from '../events/index.ts';

/** An opaque token is shown to one issuer, so it must be clear to which. */
function tellApart(
  issuers: readonly { introspection?: { token_prefix?: string | undefined } | undefined }[],
) {
  const prefixes = issuers.flatMap(({ introspection }) =>
    introspection === undefined ? [] : [introspection.token_prefix ?? ''],
  );
  return prefixes.every((one, index) =>
    prefixes.every((other, otherIndex) => index === otherIndex || !other.startsWith(one)),
  );
}

const certificateGrantSchema = z
  .strictObject({
    subject: z
      .string()
      .startsWith('/')
      .optional()
      .describe('Name of the certificate in one-line form: /DC=org/DC=example/CN=Alice'),
    group: z
      .string()
      .startsWith('/')
      .optional()
      .describe('VOMS group (/vo/group), or group with role (/vo/group/Role=production)'),
    audiences: z
      .array(z.string())
      .optional()
      .describe('URLs of the listeners where it counts; default: all that ask for certificates'),
    scopes: z.array(z.string().min(1)).min(1),
  })
  .refine(
    ({ subject, group }) => (subject === undefined) !== (group === undefined),
    'say subject or group, one of them',
  );

/** The part of `weft.yaml` that every process reads, whatever components it runs. */
export const settingsSchema = z.object({
  data_folder: z
    .string()
    .min(1)
    .describe('Folder for files: sockets, logs, keys, caches. Durable state is in the database.'),
  database: z
    .union([
      z.literal('embedded').describe('A private PostgreSQL in data_folder, for one host'),
      z.strictObject({
        url: z
          .string()
          .regex(/^postgres(ql)?:\/\//)
          .describe('PostgreSQL 15 or newer, direct or session-pooled'),
        connections: z
          .int()
          .min(2)
          .max(200)
          .default(16)
          .describe('Largest number of connections of one process'),
      }),
      z.strictObject({
        socket_folder: z.string(),
        user: z.string(),
        database: z.string(),
        password_file: z.string().describe('File with the password of the embedded server'),
        connections: z.int().min(2).max(200).default(16),
      }),
    ])
    .describe('Where the state is kept'),
  issuers: z
    .array(
      z.strictObject({
        issuer: z.string(),
        alternative: z.string().optional(),
        algorithms: z.array(z.string()).optional(),
        maximum_lifetime_seconds: z.int().positive().optional(),
        allow_wildcard_audience: z.boolean().default(false),
        audiences: z
          .array(z.string().min(1))
          .default([])
          .describe(
            'What it writes into `aud` instead of our address (Keycloak: account); taken besides that',
          ),
        require_audience: z
          .boolean()
          .default(true)
          .describe(
            'False takes its tokens whatever `aud` says: only where it cannot say whom a token is for',
          ),
        userinfo: z
          .boolean()
          .default(false)
          .describe('Ask it for groups and entitlements that are not in the token (EGI Check-in, IAM)'),
        introspection: z
          .strictObject({
            client_id: z.string().min(1),
            secret_file: z.string().describe('File that holds the secret alone'),
            token_prefix: z
              .string()
              .min(1)
              .optional()
              .describe(
                'What all its opaque tokens begin with; needed when several issuers have introspection',
              ),
          })
          .optional()
          .describe('Ask it about tokens that are no JWTs (RFC 7662)'),
      }),
    )
    .default([])
    .refine(
      tellApart,
      'several issuers have introspection: give each a token_prefix, none the beginning of another',
    )
    .describe('OpenID providers whose access tokens are accepted'),
  credentials: z
    .record(
      z.string(),
      z.strictObject({
        issuer: z.string(),
        client_id: z.string(),
        client_secret: secretSchema.optional(),
        client_secret_file: z.string().optional(),
      }),
    )
    .default({})
    .describe('By component: the client with which it gets tokens for its calls to others'),
  secret_key_file: z.string().describe('32 random bytes (mode 0600) that encrypt credentials at rest'),
  tls: z
    .strictObject({ certificate_file: z.string(), key_file: z.string() })
    .describe('Server certificate of the listeners'),
  client_certificates: z
    .strictObject({
      authorities_folder: z
        .string()
        .describe(
          'Trusted authorities, their revocation lists and policies: /etc/grid-security/certificates',
        ),
      voms_folder: z
        .string()
        .optional()
        .describe(
          'Trusted VOMS servers by VO: /etc/grid-security/vomsdir; without it attributes are ignored',
        ),
      require_revocation_lists: z
        .boolean()
        .default(false)
        .describe('Refuse certificates of authorities that have no revocation list in the folder'),
      require_valid_attributes: z
        .boolean()
        .default(false)
        .describe('Refuse a caller whose VOMS attributes do not hold, instead of leaving them out'),
      hosts: z
        .array(z.string())
        .default([])
        .describe('Names of this service, for VOMS attributes that are meant for some hosts only'),
      grants: z
        .array(certificateGrantSchema)
        .default([])
        .describe(
          'What callers with a certificate may do, in the scopes that tokens have; without any, nothing',
        ),
    })
    .optional()
    .describe('Whom to trust on listeners that ask for client certificates (`client_certificates: true`)'),
  outgoing: z
    .strictObject({
      allow_origins: z.array(baseUrlSchema).default([]),
      certificate_authorities: z
        .array(z.string())
        .default([])
        .describe('PEM files to trust besides the system'),
    })
    .prefault({}),
  tracing: z
    .strictObject({
      otlp_url: z
        .url({ protocol: /^https?$/ })
        .describe('OTLP/HTTP receiver of an OpenTelemetry collector: http://collector:4318/v1/traces'),
      ratio: z.number().min(0).max(1).default(1).describe('Share of the traces begun here that is kept'),
    })
    .optional()
    .describe('OpenTelemetry traces that follow a request through components; off without this section'),
  event_subscriptions: z
    .array(subscriptionSchema)
    .default([])
    .refine(
      (all) => new Set(all.map(({ name }) => name)).size === all.length,
      'two subscriptions have the same name',
    )
    .describe('Who is sent the events of a component: webhooks and STOMP brokers'),
  log: z
    .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info') })
    .prefault({}),
});

export type Settings = z.output<typeof settingsSchema>;
