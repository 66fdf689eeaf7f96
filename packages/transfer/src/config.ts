import { baseUrlSchema, listenSchema } from '@weft/kernel/config';
import { z } from 'zod';

const limit = z.int().min(1).max(100_000);

export const transferConfig = z.strictObject({
  listen: listenSchema
    .prefault({ port: 8446 })
    .describe('Address of the REST interface; clients expect port 8446'),
  url: baseUrlSchema
    .default('https://localhost:8446')
    .describe('Address that clients use; also the audience of their tokens'),
  audiences: z.array(z.string()).default([]).describe('Further audiences to accept in tokens'),
  vo_of_issuer: z
    .record(z.string(), z.string().min(1))
    .default({})
    .describe(
      'By issuer: the VO of all its users. Without an entry the first group of the token counts, else the host of the issuer',
    ),
  check_duplicates: z
    .union([z.boolean(), z.array(z.string())])
    .default(true)
    .describe(
      'Refuse (409) a second unfinished transfer to the same destination: for all VOs, none, or those named',
    ),
  maximum_files_per_job: z.int().min(1).max(100_000).default(10_000),
  retry: z.int().min(0).max(100).default(0).describe('Attempts after the first, where a job does not say'),
  retry_delay_seconds: z
    .int()
    .min(0)
    .default(120)
    .describe('Pause before another attempt, where a job does not say'),
  limits: z
    .strictObject({
      link: limit.default(40).describe('Transfers at once on one link'),
      storage_inbound: limit.default(200).describe('Transfers at once into one storage'),
      storage_outbound: limit.default(200).describe('Transfers at once out of one storage'),
    })
    .prefault({})
    .describe(
      'Where no row of /config/se or /config/links says otherwise. A storage is scheme://host, without the port',
    ),
  mover: z
    .strictObject({
      concurrency: z.int().min(1).max(2000).default(200).describe('Transfers at once in one mover process'),
      lease_seconds: z
        .int()
        .min(3)
        .max(600)
        .default(10)
        .describe('A mover that is silent for so long has lost its files'),
      marker_timeout_seconds: z
        .int()
        .min(1)
        .max(280)
        .default(180)
        .describe('A copy without performance marker for so long is aborted'),
      minimum_timeout_seconds: z.int().min(1).default(600).describe('Shortest limit of one whole transfer'),
      seconds_per_mib: z.number().min(0).default(2).describe('Added to it for each MiB'),
      request_timeout_seconds: z.int().min(1).default(60).describe('Any other request to a storage'),
    })
    .prefault({}),
});

export type TransferConfig = z.output<typeof transferConfig>;
