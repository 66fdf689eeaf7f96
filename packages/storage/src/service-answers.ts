/** Answers of `/.weft/api/v1` (brief teapot 2.9), as the service prints and the client reads them. */
import { z } from 'zod';

const decision = z.object({ allowed: z.boolean(), why: z.string() });

/** Who somebody is to a storage, and what they may do at a path. */
export const whoamiAnswer = z.object({
  issuer: z.string(),
  subject: z.string(),
  kind: z.string(),
  client_id: z.string().nullable(),
  expires_at: z.string().nullable(),
  groups: z.array(z.string()),
  entitlements: z.array(z.string()),
  groups_count: z
    .boolean()
    .describe('False: the token has storage or compute scopes, and groups are ignored'),
  scopes: z.array(z.string()).describe('As paths of this service, whatever prefix the issuer has'),
  macaroon: z
    .object({ path: z.string(), activities: z.array(z.string()), max_upload: z.int().nullable() })
    .nullable(),
  administrator: z.boolean(),
  account: z
    .object({
      name: z.string(),
      uid: z.int(),
      gid: z.int(),
      groups: z.array(z.object({ gid: z.int(), name: z.string().nullable() })),
    })
    .nullable()
    .describe('Who reads and writes: the mapped local account, in single-user mode that of the service'),
  account_refusal: z.string().nullable().describe('Why there is none'),
  path: z
    .object({
      path: z.string(),
      area: z.string().nullable(),
      stands: z.enum(['file', 'collection', 'nothing', 'unknown']),
      owner: z.object({ uid: z.int(), gid: z.int(), mode: z.string() }).nullable(),
      actions: z.record(z.string(), decision),
    })
    .optional()
    .describe('With ?path=: what is allowed there, and why'),
});

/** A third-party copy that runs. */
export const copyAnswer = z.object({
  id: z.string(),
  direction: z.enum(['pull', 'push']),
  path: z.string(),
  remote: z.string(),
  bytes: z.int(),
  started_at: z.string(),
  issuer: z.string(),
  subject: z.string(),
  account: z.string().nullable(),
});

/** The process of a local user. */
export const workerAnswer = z.object({
  account: z.string(),
  uid: z.int(),
  pid: z.int(),
  busy: z.int().describe('Requests that it works for'),
  memory_bytes: z.int().nullable(),
  started_at: z.string(),
  used_at: z.string(),
});

export type Whoami = z.output<typeof whoamiAnswer>;
export type RunningTransfer = z.output<typeof copyAnswer>;
export type RunningWorker = z.output<typeof workerAnswer>;
