import { baseUrlSchema, listenSchema } from '@weft/kernel/config';
import { z } from 'zod';

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
  root: z.string().startsWith('/').describe('Folder on this machine; made when it is missing'),
  read_only: z.boolean().default(false).describe('Refuse every change'),
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
  maximum: z.int().positive().default(100).describe('Third-party copies at once; more are answered with 503'),
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
  areas: z.array(areaSchema).min(1).describe('What is served'),
  app_passwords: z
    .boolean()
    .default(true)
    .describe('Accept Basic with app passwords, for clients that know no tokens (mounted drives)'),
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
});

export type StorageConfig = z.output<typeof storageConfig>;
export type AreaConfig = StorageConfig['areas'][number];

/** The section `storage` of `weft.yaml`: one entry a site, each served by a process of its own. */
export const storageSection = z.strictObject({ instances: z.array(storageConfig).default([]) });
