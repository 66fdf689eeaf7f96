import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Realm } from '../core/realm.ts';
import { replaceSigningKey } from '../core/replace-signing-key.ts';
import type { RotateOptions } from '../core/rotate-keys.ts';
import { requireIssuerAdministrator } from './issuer-administration.ts';
import { originOf } from './oauth-dialect.ts';

const bodySchema = z.strictObject({
  leaked: z.boolean().default(false).describe('remove the older keys at once, with all that they signed'),
});

/** `POST /api/v2/keys/rotation`, with the scope `iam:admin.write`: a new key signs from now on. */
export function registerSigningKeys(app: FastifyInstance, realm: Realm, options: RotateOptions): void {
  app.post('/api/v2/keys/rotation', async (request, reply) => {
    const administrator = await requireIssuerAdministrator(realm, request, 'key.rotate');
    const body = bodySchema.safeParse(request.body ?? {});
    if (!body.success) throw new WeftError('invalid', 'invalid_request', z.prettifyError(body.error));
    const replacement = await replaceSigningKey(options, realm, {
      leaked: body.data.leaked,
      audit: { actor: administrator.subject, origin: originOf(request) },
    });
    return reply.header('cache-control', 'no-store').send(replacement);
  });
}
