import { z } from 'zod';
import { type DidName, parseId } from '../core/names.ts';
import type { NewRule } from '../core/rules/add-rules.ts';
import { didListSchema, lenientBoolean } from './bodies.ts';

const ACTIVITIES = [
  'Data Brokering',
  'Data Consolidation',
  'Data Rebalancing',
  'Debug',
  'Express',
  'Functional Test',
  'Group Subscriptions',
  'Production Input',
  'Production Output',
  'Analysis Input',
  'Analysis Output',
  'Staging',
  'T0 Export',
  'T0 Tape',
  'Upload/Download (Job)',
  'Upload/Download (User)',
  'User Subscriptions',
  'Data Challenge',
] as const;

const NOTIFICATIONS = { Y: 'YES', N: 'NO', C: 'CLOSE', P: 'PROGRESS' } as const;

/** A rule without its DIDs, as it stands in `POST /dids` and, with them, in `POST /rules` (brief rucio-daemons 2.2). */
export const inlineRuleSchema = z.object({
  account: z.string().nullish(),
  copies: z.int().min(1).max(1_000_000),
  rse_expression: z.string().min(1).max(3000),
  grouping: z.enum(['ALL', 'DATASET', 'NONE']).nullish(),
  weight: z.string().nullish(),
  lifetime: z.number().min(0).max(1e11).nullish(),
  locked: lenientBoolean.nullish(),
  subscription_id: z.string().nullish(),
  source_replica_expression: z.string().max(255).nullish(),
  activity: z.enum(ACTIVITIES).nullish(),
  notify: z.enum(['Y', 'N', 'C', 'P']).nullish(),
  purge_replicas: lenientBoolean.nullish(),
  ignore_availability: lenientBoolean.nullish(),
  comment: z.string().max(250).nullish(),
  ask_approval: lenientBoolean.nullish(),
  asynchronous: lenientBoolean.nullish(),
  delay_injection: z.number().min(0).max(1e9).nullish(),
  priority: z.int().min(1).max(5).nullish(),
  split_container: lenientBoolean.nullish(),
  meta: z
    .union([z.string(), z.record(z.string(), z.unknown()).transform((value) => JSON.stringify(value))])
    .nullish(),
});

/** The keys dids, account, copies and rse_expression must be there; account may be null. */
export const newRuleSchema = inlineRuleSchema.extend({ dids: didListSchema, account: z.string().nullable() });

export function newRuleOf(
  body: z.output<typeof inlineRuleSchema>,
  dids: readonly DidName[],
  issuer: string,
): NewRule {
  return {
    dids: dids.map(({ scope, name }) => ({ scope, name })),
    account: body.account ?? issuer,
    copies: body.copies,
    rseExpression: body.rse_expression,
    grouping: body.grouping ?? 'DATASET',
    weight: body.weight ?? null,
    lifetimeSeconds: body.lifetime ?? null,
    locked: body.locked ?? false,
    subscriptionId: body.subscription_id ? (parseId(body.subscription_id) ?? null) : null,
    sourceReplicaExpression: body.source_replica_expression ?? null,
    activity: body.activity ?? 'User Subscriptions',
    notification: NOTIFICATIONS[body.notify ?? 'N'],
    purgeReplicas: body.purge_replicas ?? false,
    ignoreAvailability: body.ignore_availability ?? false,
    comment: body.comment ?? null,
    askApproval: body.ask_approval ?? false,
    asynchronous: body.asynchronous ?? false,
    delaySeconds: body.delay_injection ?? 0,
    priority: body.priority ?? 3,
    splitContainer: body.split_container ?? false,
    meta: body.meta ?? null,
  };
}
