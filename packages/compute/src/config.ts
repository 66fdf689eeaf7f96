import { baseUrlSchema, listenSchema } from '@weft/kernel/config';
import { z } from 'zod';

const absolutePath = z.string().regex(/^\/[^\0]*$/, 'must be an absolute path');

/** What stands behind an image name: our own Node.js on the host's system files, or a root file system on disk. */
const imageSource = z
  .union([z.literal('builtin:node'), absolutePath])
  .describe('`builtin:node`, or the absolute path of an unpacked root file system');

const site = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
    .describe('Name of the site, as in `storage.instances[].name`'),
  node: z.string().min(1).describe('Name of the virtual node that stands for the site: `vn-hpc`'),
  listen: listenSchema.describe('Where the interLink API of the site listens'),
  url: baseUrlSchema.describe('Its address for others; also the audience of tokens for it'),
  backend: z
    .enum(['auto', 'slurm', 'sandbox'])
    .default('auto')
    .describe('`auto` takes Slurm when `sinfo` answers, else the sandbox'),
  confinement: z
    .enum(['auto', 'bubblewrap', 'namespaces', 'none'])
    .default('auto')
    .describe(
      'How jobs are confined; `auto` takes the first that works and marks pods as unconfined when none does',
    ),
  network: z.enum(['host', 'none']).default('host').describe('Network of the jobs'),
  slots: z
    .int()
    .min(1)
    .default(1)
    .describe('Pods that run at once; with Slurm only what is told to placement'),
  images: z.record(z.string(), imageSource).default({}).describe('Container images that the site can run'),
  storage: z
    .strictObject({
      rse: z.string().min(1).describe('RSE of the storage beside the site'),
      url: baseUrlSchema.describe('Its WebDAV address; also the audience of tokens for it'),
    })
    .optional()
    .describe('The storage beside the site: nearest for stage-in, target of stage-out'),
  work_folder: absolutePath
    .optional()
    .describe(
      'Where the folders of the jobs lie; default in the data folder. With Slurm: on a shared file system',
    ),
  scratch: z
    .strictObject({
      folder: absolutePath.describe('Folder of the site that every job may write to'),
      mount: absolutePath.default('/scratch').describe('Where jobs see it'),
    })
    .optional(),
  account: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]*$/)
    .default('weft-job')
    .describe('As root: the system account that jobs run under, made on first use'),
  drained: z
    .boolean()
    .default(false)
    .describe('Whether the site begins as drained; afterwards the API decides'),
});

export const configSchema = z.strictObject({
  sites: z.array(site).default([]).describe('One entry a site'),
  datalake: z
    .strictObject({ url: baseUrlSchema })
    .optional()
    .describe('Where data of pods is looked up and registered'),
  accounting: z
    .strictObject({
      url: baseUrlSchema.describe('Where job records are sent'),
      infrastructure: z
        .string()
        .max(100)
        .default('weft')
        .describe('`InfrastructureDescription` of the records'),
      benchmark: z
        .strictObject({ type: z.enum(['HEPscore23', 'HEPSPEC', 'si2k']), value: z.number().positive() })
        .optional()
        .describe('`ServiceLevel` of the machines'),
    })
    .optional(),
});

export type ComputeConfig = z.output<typeof configSchema>;
export type SiteConfig = ComputeConfig['sites'][number];
