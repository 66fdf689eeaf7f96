import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { NewDeployment } from '../core/create-deployment.ts';

const jsonSchema = z.json();

/** orchent and the dashboard send booleans as text (brief 2.1). */
const wireBooleanSchema = z.union([
  z.boolean(),
  z.enum(['true', 'false', '']).transform((text) => text === 'true'),
]);
const minutesSchema = z.int().min(1).max(52_560_000);

/** DeploymentRequest; unknown properties are ignored, null is absent. */
const requestSchema = z.object({
  template: z.string().min(1),
  parameters: z.record(z.string(), jsonSchema).nullish(),
  callback: z
    .string()
    .regex(/^https?:/, 'must begin with http: or https:')
    .max(2_000)
    .nullish(),
  timeoutMins: minutesSchema.nullish(),
  providerTimeoutMins: minutesSchema.nullish(),
  maxProvidersRetry: z.int().min(1).max(1_000).nullish(),
  keepLastAttempt: wireBooleanSchema.nullish(),
  /** orpy's spelling. */
  keepLastAttemp: wireBooleanSchema.nullish(),
  userGroup: z.string().max(200).nullish(),
});

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,200}$/;

/** Reads the body of `POST /deployments`. @throws {WeftError} `invalid`, `unsupported` */
export function readDeploymentRequest(request: FastifyRequest): NewDeployment {
  const { body } = request;
  if (body === undefined || body === null)
    throw new WeftError('invalid', 'no-body', 'Required request body is missing.');
  if (Buffer.isBuffer(body) || body instanceof URLSearchParams) throw new UnsupportedMediaType(request);
  const parsed = requestSchema.safeParse(body);
  if (!parsed.success) throw new WeftError('invalid', 'bad-request', describeIssues(parsed.error));
  const wire = parsed.data;
  if (wire.providerTimeoutMins && wire.timeoutMins && wire.providerTimeoutMins > wire.timeoutMins) {
    throw new WeftError('invalid', 'bad-request', 'providerTimeoutMins must not be greater than timeoutMins');
  }
  return {
    template: wire.template,
    parameters: wire.parameters ?? {},
    userGroup: wire.userGroup ?? undefined,
    callback: wire.callback ?? undefined,
    timeoutMinutes: wire.timeoutMins ?? undefined,
    providerTimeoutMinutes: wire.providerTimeoutMins ?? undefined,
    maximumProviders: wire.maxProvidersRetry ?? undefined,
    keepLastAttempt: wire.keepLastAttempt ?? wire.keepLastAttemp ?? false,
    idempotencyKey: readIdempotencyKey(request),
  };
}

function readIdempotencyKey(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && IDEMPOTENCY_KEY.test(key)) return key;
  throw new WeftError(
    'invalid',
    'bad-idempotency-key',
    'Idempotency-Key must be 1 to 200 visible ASCII characters.',
  );
}

function describeIssues(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`).join('; ');
}

/** 415: the body is not JSON by its own words. */
class UnsupportedMediaType extends Error {
  readonly statusCode = 415;
  readonly code = 'unsupported-media-type';

  constructor(request: FastifyRequest) {
    super(`Content type '${request.headers['content-type'] ?? ''}' not supported, send application/json`);
  }
}
