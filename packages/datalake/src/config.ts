import { baseUrlSchema, listenSchema } from '@weft/kernel/config';
import { z } from 'zod';

const identitySchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('OIDC'),
    identity: z
      .string()
      .regex(/^SUB=.+, ISS=.+$/)
      .describe('`SUB=<sub>, ISS=<iss>` as in the tokens'),
  }),
  z.strictObject({
    type: z.literal('USERPASS'),
    username: z.string().min(1),
    password_file: z.string().describe('File that holds the password, mode 0600'),
  }),
  z.strictObject({
    type: z.literal('X509'),
    identity: z.string().startsWith('/').describe('Subject in OpenSSL slash form'),
  }),
]);

const accountSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9-_]{1,25}$/),
  type: z.enum(['USER', 'GROUP', 'SERVICE']).default('USER'),
  email: z.string().nullable().default(null),
  admin: z.boolean().default(false).describe('Sets the attribute `admin`: may do everything'),
  identities: z.array(identitySchema).default([]),
  limits: z
    .array(
      z.strictObject({
        rse_expression: z.string().min(1),
        bytes: z.int().min(-1).describe('-1 is unlimited'),
      }),
    )
    .default([{ rse_expression: '*', bytes: -1 }])
    .describe('Quota over the RSEs of an expression'),
});

const scopeSchema = z.strictObject({
  name: z.string().regex(/^[a-zA-Z_\-.0-9]{1,25}$/),
  account: z.string().describe('The owner'),
  writers: z.array(z.string()).default([]).describe('Accounts that may write into it beside the owner'),
});

export const configSchema = z.strictObject({
  listen: listenSchema.prefault({ port: 8450 }),
  url: baseUrlSchema.describe('Address that clients use; also the audience of their tokens'),
  audiences: z.array(z.string()).default(['rucio']).describe('Accepted audiences beside `url`'),
  expected_scope: z.string().default('openid profile').describe('Scopes that a token must carry, by blanks'),
  accounts: z.array(accountSchema).default([]),
  scopes: z.array(scopeSchema).default([]),
  token_lifetime_seconds: z.int().positive().default(3600).describe('Of the tokens from /auth/userpass'),
  transfer: z
    .strictObject({
      url: baseUrlSchema.describe('The FTS server'),
      audience: z.string().optional().describe('Of the tokens for it; its URL unless given'),
      files_per_job: z.int().min(1).max(1000).default(100),
      paths_per_token: z.int().min(1).max(100).default(10).describe('Files that share one storage token'),
      poll_seconds: z
        .number()
        .positive()
        .default(10)
        .describe('Requests without news for so long are asked about'),
    })
    .optional()
    .describe('Without it rules find no way to move files and wait'),
  storage_audience: z
    .enum(['origin', 'host'])
    .default('origin')
    .describe(
      'Audience of storage tokens: `https://host:port` of the davs protocol, or the bare host (upstream)',
    ),
  retries: z
    .strictObject({
      attempts: z.int().min(0).default(3).describe('Further attempts of a failed transfer'),
      delay_seconds: z.number().min(0).default(5).describe('Before the first of them; doubles each time'),
    })
    .prefault({}),
  repair: z
    .strictObject({
      after_seconds: z.number().positive().default(7200).describe('A stuck rule is tried again after this'),
      suspend_after_seconds: z
        .number()
        .positive()
        .default(14 * 86400),
    })
    .prefault({}),
  rule_deletion_delay_seconds: z
    .number()
    .min(0)
    .default(3600)
    .describe('A rule deleted by its owner lives on for so long'),
  large_rule_files: z
    .int()
    .positive()
    .default(10_000)
    .describe('Rules over more files times copies are applied in the background'),
});

export type DatalakeConfig = z.output<typeof configSchema>;
