import type { FastifyInstance } from 'fastify';

/** Listens on a free loopback port and gives the URL. */
export async function listen(app: FastifyInstance): Promise<string> {
  return await app.listen({ host: '127.0.0.1', port: 0 });
}
