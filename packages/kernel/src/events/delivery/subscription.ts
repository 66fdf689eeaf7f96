import { z } from 'zod';
import { secretSchema } from '../../config/index.ts';

const webhookSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe('Where each event is sent by POST'),
  secret: secretSchema
    .refine(
      (secret) => secretBytes(secret.reveal()) !== undefined,
      'must be whsec_ and the Base64 of 24 to 64 bytes',
    )
    .describe('Signs every request as Standard Webhooks say; the receiver has the same'),
  previous_secret: secretSchema
    .optional()
    .describe('While secrets are being changed: signs as well, so that receivers may have either'),
  mode: z
    .enum(['structured', 'binary'])
    .default('structured')
    .describe(
      'CloudEvents over HTTP: the whole event as the body, or its data with the attributes in headers',
    ),
});

const stompSchema = z.strictObject({
  url: z
    .string()
    .regex(/^stomps:\/\/[^/\s]+:\d+$/, 'must be stomps://host:port')
    .describe('STOMP broker, over TLS'),
  destination: z.string().min(1).describe('/topic/weft.events'),
  login: z.string().optional(),
  passcode: secretSchema.optional(),
});

/** One receiver of a component's events, as it stands in the configuration. */
export const subscriptionSchema = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9-]{1,60}$/)
      .describe('Names its place in the stream: another name begins with the events that come'),
    component: z
      .enum(['identity', 'storage', 'transfer', 'datalake', 'compute', 'orchestrator', 'accounting'])
      .describe('Whose events'),
    types: z.array(z.string()).default([]).describe('rule.ok, file.state, …; none means all'),
    subject: z.string().default('').describe('Only events whose subject begins so'),
    webhook: webhookSchema.optional(),
    stomp: stompSchema.optional(),
  })
  .refine(
    ({ webhook, stomp }) => (webhook === undefined) !== (stomp === undefined),
    'needs either webhook or stomp',
  );

export type Subscription = z.output<typeof subscriptionSchema>;
export type Webhook = z.output<typeof webhookSchema>;
export type StompTarget = z.output<typeof stompSchema>;

/** The key behind `whsec_…`; `undefined` when it is not one. */
export function secretBytes(secret: string): Buffer | undefined {
  const encoded = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1];
  if (encoded === undefined) return undefined;
  const key = Buffer.from(encoded, 'base64');
  return key.length >= 24 && key.length <= 64 ? key : undefined;
}
