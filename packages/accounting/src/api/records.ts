import type { IncomingMessage } from 'node:http';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import type { MessageView } from '../core/describe-message.ts';
import { findMessage } from '../core/find-messages.ts';
import type { Ledger } from '../core/ledger.ts';
import { loadMessage } from '../core/load-message.ts';
import { receiveMessage } from '../core/receive-message.ts';
import { type Callers, signerOf } from './caller.ts';

export const LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024;
const LONGEST_EMPA_ID = 255;

/**
 * Ingest in the dialect of APEL's REST interface (brief accounting 2.7): the text of a message, of whatever type and with
 * whatever content type, and 202. Beyond the original the sender hears at once when the message cannot be loaded.
 */
export function registerRecordRoutes(app: FastifyInstance, ledger: Ledger, callers: Callers): void {
  app.post('/api/v1/cloud/record', async (request, reply) => {
    const principal = await callers.publisher(request);
    const header = request.headers['empa-id'];
    const empaId = Array.isArray(header) ? header[0] : header;
    if (empaId !== undefined && empaId.length > LONGEST_EMPA_ID) {
      throw new WeftError(
        'invalid',
        'invalid_empa_id',
        `Empa-Id is longer than ${LONGEST_EMPA_ID} characters.`,
      );
    }
    const body = await readBody(request.raw);
    const received = await receiveMessage(ledger, { signer: signerOf(principal), empaId, body });
    const message = await loadNow(ledger, received);
    if (message.state === 'rejected' || message.state === 'quarantined') {
      const [kind, code] =
        message.state === 'rejected'
          ? (['invalid', 'message_rejected'] as const)
          : (['forbidden', 'publisher_not_allowed'] as const);
      throw new WeftError(kind, code, message.reason ?? message.state, { details: { message } });
    }
    return reply
      .code(202)
      .header('location', `/accounting/v1/messages/${message.id}`)
      .header('weft-message-state', message.state)
      .type('application/json')
      .send('"Data successfully saved for future loading."');
  });
}

/** The message after loading. When that fails for a while, a daemon tries again: it is in the journal, which is what 202 says. */
async function loadNow(ledger: Ledger, received: MessageView): Promise<MessageView> {
  try {
    const loaded = await loadMessage(ledger, { id: received.id });
    return loaded ?? (await findMessage(ledger.database, received.id)) ?? received;
  } catch (error) {
    ledger.log.warn({ message: received.id, error: describeError(error) }, 'message is loaded later');
    return received;
  }
}

async function readBody(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > LARGEST_MESSAGE_BYTES) {
      throw new WeftError(
        'too-large',
        'message_too_large',
        `A message has at most ${LARGEST_MESSAGE_BYTES} bytes.`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
