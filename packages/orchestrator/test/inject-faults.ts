import type { FastifyInstance } from 'fastify';

/** Lets a share of the requests fail with 503: half of them before they had an effect, half after it. */
export function injectFaults(app: FastifyInstance, share: () => number): void {
  app.addHook('preHandler', async (_request, reply) => {
    if (Math.random() < share() / 2) await reply.code(503).send('busy');
  });
  app.addHook('onSend', async (_request, reply, payload) => {
    if (reply.statusCode < 300 && Math.random() < share() / 2) {
      reply.code(503);
      return 'the answer was lost';
    }
    return payload;
  });
}
