import { authenticate, insufficientScope, type Principal, readBearer, scopeWithin } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { AppPassword } from '../core/app-passwords.ts';
import type { Door } from '../core/door.ts';
import { keyIdOf } from './identify.ts';
import { readBody } from './xml.ts';

const DAY_SECONDS = 86_400;

const newAppPassword = z.strictObject({
  label: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .regex(/^[^\p{Cc}\p{Cs}]+$/u, 'must be text without control characters'),
  /** Default: the path scopes of the token. */
  scopes: z.array(z.string()).min(1).optional(),
  lifetime_days: z.int().min(1).max(366).default(90),
});

/**
 * `/.weft/api/v1/app-passwords`: a user with a token makes, lists and revokes passwords for devices that know only Basic.
 * A password is never worth more than the token that made it, and cannot make another.
 */
export function registerAppPasswordRoutes(app: FastifyInstance, door: Door): void {
  const path = '/.weft/api/v1/app-passwords';
  const owner = (request: FastifyRequest) => authenticate(request, door.context.verifier, door.audiences);

  app.get(path, async (request) => (await door.appPasswords.list(await owner(request))).map(print));

  app.post(path, async (request, reply) => {
    const caller = await owner(request);
    const { label, scopes, lifetime_days } = parse(await readBody(request.raw));
    const { password, ...made } = await door.appPasswords.make(caller, {
      label,
      scopes: grantable(caller, scopes),
      expiresAt: new Date(Date.now() + lifetime_days * DAY_SECONDS * 1000),
      keyId: keyIdOf(readBearer(request) ?? ''),
    });
    return reply.code(201).send({ ...print(made), password: password.reveal() });
  });

  app.delete<{ Params: { id: string } }>(`${path}/:id`, async (request, reply) => {
    const revoked = await door.appPasswords.revoke(await owner(request), request.params.id);
    if (!revoked)
      throw new WeftError('not-found', 'app-password-not-found', 'You have no such app password.');
    return reply.code(204).send();
  });
}

/** The scopes asked for, when the token covers them. @throws {WeftError} `forbidden`, code `insufficient_scope`. */
function grantable(caller: Principal, asked: readonly string[] | undefined): string[] {
  const own = [...caller.scopes].filter((scope) => scope.startsWith('storage.'));
  const beyond = asked?.filter((scope) => !own.some((held) => scopeWithin(scope, held))) ?? [];
  if (beyond.length > 0 || own.length === 0)
    throw insufficientScope(beyond.length > 0 ? beyond : ['storage.read:/']);
  return [...(asked ?? own)];
}

function parse(body: Buffer): z.output<typeof newAppPassword> {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new WeftError('invalid', 'invalid-json', 'The body is not JSON.', { cause });
  }
  const parsed = newAppPassword.safeParse(json);
  if (!parsed.success) throw new WeftError('invalid', 'invalid-app-password', z.prettifyError(parsed.error));
  return parsed.data;
}

function print({ id, label, scopes, createdAt, expiresAt }: AppPassword) {
  return { id, label, scopes, created_at: createdAt.toISOString(), expires_at: expiresAt.toISOString() };
}
