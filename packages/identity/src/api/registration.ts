import { readBearer } from '@weft/kernel/auth';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { recordAudit } from '../core/audit.ts';
import {
  type RegisteredClient,
  readRegistration,
  registerClient,
  removeRegistration,
  updateRegistration,
} from '../core/client-registration.ts';
import type { Realm } from '../core/realm.ts';
import type { IdentityTables } from '../db/schema.ts';
import { originOf } from './oauth-dialect.ts';

const PATH = '/iam/api/client-registration';

/** Dynamic registration (RFC 7591, 7592), under IAM's name and under `/register`. */
export function registerRegistration(app: FastifyInstance, realm: Realm): void {
  for (const path of [PATH, '/register']) {
    app.post(path, async (request, reply) => {
      const client = await registerClient(realm, request.body);
      await audit(request, client.id, 'client.register');
      return reply.code(201).header('cache-control', 'no-store').send(print(client));
    });
  }

  type ById = FastifyRequest<{ Params: { id: string } }>;
  app.get(`${PATH}/:id`, async (request: ById, reply) =>
    reply
      .header('cache-control', 'no-store')
      .send(print(await readRegistration(realm, request.params.id, readBearer(request)))),
  );
  app.put(`${PATH}/:id`, async (request: ById, reply) => {
    const client = await updateRegistration(realm, request.params.id, readBearer(request), request.body);
    await audit(request, client.id, 'client.update');
    return reply.header('cache-control', 'no-store').send(print(client));
  });
  app.delete(`${PATH}/:id`, async (request: ById, reply) => {
    await removeRegistration(realm, request.params.id, readBearer(request));
    await audit(request, request.params.id, 'client.remove');
    return reply.code(204).send();
  });

  function print({ id, secret, registrationToken, issuedAt, metadata }: RegisteredClient) {
    return {
      ...metadata,
      client_id: id,
      client_id_issued_at: Math.floor(issuedAt.getTime() / 1000),
      ...(secret === undefined ? {} : { client_secret: secret, client_secret_expires_at: 0 }),
      ...(registrationToken === undefined ? {} : { registration_access_token: registrationToken }),
      registration_client_uri: `${realm.issuer}${PATH}/${id}`,
    };
  }

  async function audit(request: FastifyRequest, id: string, action: string): Promise<void> {
    await recordAudit(realm.database.withTables<IdentityTables>(), {
      realm: realm.name,
      actor: id,
      action,
      object: id,
      decision: 'granted',
      origin: originOf(request),
    });
  }
}
