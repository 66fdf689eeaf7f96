import { baseUrlSchema, listenSchema } from '@weft/kernel/config';
import { z } from 'zod';

const slaSchema = z.strictObject({
  id: z
    .string()
    .regex(/^[^_]+$/, 'must not contain "_" (the original dashboard splits at it)')
    .describe('Identifier of the agreement'),
  groups: z
    .array(z.string().min(1))
    .default(['*'])
    .describe('Groups that may use the provider, without leading slash; "*" is every group'),
  weight: z.number().positive().default(1).describe('Preference of the agreement, relative to the others'),
});

const providerSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
    .describe('Name that users see: "hpc"'),
  kind: z.literal('interlink').describe('Driver: a site behind the interLink API'),
  url: baseUrlSchema.describe('The interLink API; also the audience of its tokens'),
  node: z.string().min(1).describe('Virtual node of the site: "vn-hpc"'),
  rse: z.string().min(1).optional().describe('RSE beside the site; without it no job with data runs there'),
  sla: slaSchema.prefault({ id: 'default' }).describe('The agreement with the provider'),
});

export const configSchema = z.strictObject({
  listen: listenSchema.prefault({ port: 8445 }),
  url: baseUrlSchema.describe('The address that clients use'),
  audiences: z
    .array(z.string().min(1))
    .default([])
    .describe('Audiences of tokens that are accepted beside `url`'),
  display_name: z.string().min(1).default('Weft-Orchestrator').describe('Answer of GET /'),
  admin_groups: z
    .array(z.string().min(1))
    .default(['admin'])
    .describe('Members see and end every deployment'),
  default_group: z
    .string()
    .min(1)
    .optional()
    .describe('Group of a deployment when the request names none and the token has several or none'),
  require_offline_access: z
    .boolean()
    .default(false)
    .describe(
      'Refuse POST and DELETE by tokens without offline_access or fts:submit-transfer, as the original does',
    ),
  datalake: z
    .strictObject({
      url: baseUrlSchema.describe('Rucio interface of the datalake; also the audience of its tokens'),
    })
    .optional()
    .describe('Where data are looked up and rules are made'),
  providers: z
    .array(providerSchema)
    .default([])
    .describe('Where jobs can run, in order of preference at equal score'),
  placement: z
    .strictObject({
      weights: z
        .strictObject({
          sla: z.number().nonnegative().default(1),
          capacity: z.number().nonnegative().default(1),
          data: z.number().nonnegative().default(1),
        })
        .prefault({}),
      bytes_per_second: z
        .number()
        .positive()
        .default(50_000_000)
        .describe('Assumed rate between two RSEs at distance 1; divided by the distance'),
      site_timeout_seconds: z
        .number()
        .positive()
        .default(10)
        .describe('Longest wait for the state of a site'),
    })
    .prefault({}),
  staging: z
    .strictObject({
      rule_lifetime_seconds: z
        .int()
        .positive()
        .default(7 * 86_400)
        .describe('Lifetime of the rules that bring inputs to a site'),
      poll_seconds: z.number().positive().default(5).describe('Safety net beside the events of the datalake'),
    })
    .prefault({}),
  jobs: z
    .strictObject({
      poll_seconds: z.number().positive().default(5).describe('Safety net beside the events of the sites'),
      provider_timeout_minutes: z
        .int()
        .positive()
        .default(14_400)
        .describe('providerTimeoutMins when a request has none'),
      outputs_seconds: z
        .int()
        .positive()
        .default(300)
        .describe('How long after the job its output datasets may appear in the datalake'),
    })
    .prefault({}),
  outage_seconds: z
    .int()
    .positive()
    .default(3_600)
    .describe('How long the datalake may be away before deployments that wait for it fail'),
  step_attempts: z
    .int()
    .positive()
    .default(6)
    .describe('Failures of one step in a row before the provider, or else the deployment, is given up'),
});

export type OrchestratorConfig = z.output<typeof configSchema>;
export type ProviderConfig = OrchestratorConfig['providers'][number];
