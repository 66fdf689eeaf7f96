import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { findMessage, listMessages } from '../core/find-messages.ts';
import type { Ledger } from '../core/ledger.ts';
import { type Callers, seesAll, signerOf } from './caller.ts';
import { parseQuery } from './parse-query.ts';

const listQuery = z.strictObject({
  state: z.enum(['received', 'loaded', 'rejected', 'quarantined']).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

/** What became of messages, for those who sent them (brief accounting 3.6). */
export function registerMessageRoutes(app: FastifyInstance, ledger: Ledger, callers: Callers): void {
  app.get('/accounting/v1/messages', async (request) => {
    const principal = await callers.reader(request);
    const { state, limit } = parseQuery(listQuery, request);
    const signer = seesAll(ledger.config, principal) ? undefined : signerOf(principal);
    const results = await listMessages(ledger.database, { signer, state, limit });
    return { count: results.length, results };
  });

  app.get<{ Params: { id: string } }>('/accounting/v1/messages/:id', async (request) => {
    const principal = await callers.reader(request);
    const { id } = request.params;
    const message = z.uuid().safeParse(id).success ? await findMessage(ledger.database, id) : undefined;
    if (
      message === undefined ||
      !(seesAll(ledger.config, principal) || message.signer === signerOf(principal))
    ) {
      throw new WeftError(
        'not-found',
        'message_not_found',
        `There is no message ${id.slice(0, 40)} of yours.`,
      );
    }
    return message;
  });
}
