import { readBearer } from '@weft/kernel/auth';
import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
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
  const sql = realm.database.withTables<IdentityTables>();

  for (const path of [PATH, '/register']) {
    app.post(path, async (request, reply) => {
      await realm.limits.countRegistration(request.ip);
      const client = await decided(request, 'client.register', '-', async (tx) => {
        const registered = await registerClient(realm, tx, request.body, readBearer(request));
        return { result: registered, id: registered.id };
      });
      return reply.code(201).header('cache-control', 'no-store').send(print(client));
    });
  }

  type ById = FastifyRequest<{ Params: { id: string } }>;
  app.get(`${PATH}/:id`, async (request: ById, reply) => {
    const { id } = request.params;
    return reply
      .header('cache-control', 'no-store')
      .send(print(await readRegistration(realm, sql, id, readBearer(request))));
  });
  app.put(`${PATH}/:id`, async (request: ById, reply) => {
    const { id } = request.params;
    const client = await decided(request, 'client.update', id, async (tx) => ({
      result: await updateRegistration(realm, tx, id, readBearer(request), request.body),
      id,
    }));
    return reply.header('cache-control', 'no-store').send(print(client));
  });
  app.delete(`${PATH}/:id`, async (request: ById, reply) => {
    const { id } = request.params;
    await decided(request, 'client.remove', id, async (tx) => ({
      result: await removeRegistration(realm, tx, id, readBearer(request)),
      id,
    }));
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

  /** Does something to a registration, and tells the audit log in the same transaction; or that it was refused. */
  async function decided<Result>(
    request: FastifyRequest,
    action: string,
    asked: string,
    work: (tx: Tx<IdentityTables>) => Promise<{ result: Result; id: string }>,
  ): Promise<Result> {
    const entry = { realm: realm.name, action, origin: originOf(request) };
    try {
      return await realm.database.transaction<Result, IdentityTables>(async (tx) => {
        const { result, id } = await work(tx);
        await recordAudit(tx, { ...entry, actor: id, object: id, decision: 'granted' });
        return result;
      });
    } catch (error) {
      if (error instanceof WeftError) {
        const reason = `${error.code}: ${error.message}`;
        await realm.audit.record({ ...entry, actor: '-', object: asked, decision: 'refused', reason });
      }
      throw error;
    }
  }
}
