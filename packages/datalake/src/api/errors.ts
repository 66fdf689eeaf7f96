import { WeftError } from '@weft/kernel/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';

/**
 * Statuses of the exception classes (brief rucio-api 2.10) where they differ from the status of the error's kind. Clients
 * rebuild their exception from the class name, and scripts go by its exit code.
 */
const STATUS_OF_CLASS: Readonly<Record<string, number>> = {
  // Not allowed is 401 in this protocol: the client would authenticate again first.
  AccessDenied: 401,
  CannotAuthenticate: 401,
  ReplicaIsLocked: 423,
  FileConsistencyMismatch: 412,
  RSEWriteBlocked: 409,
  RSEOverQuota: 409,
  UnsupportedRequestedContentType: 406,
};

/** What the client may see of an error: never text of the database, never a stack. */
function wireError(error: unknown, requestId: string): { status: number; name: string; message: string } {
  if (error instanceof WeftError) {
    const status = STATUS_OF_CLASS[error.code] ?? error.status;
    return { status, name: error.code, message: error.message };
  }
  const status = statusOf(error);
  if (status === 413)
    return { status, name: 'InputValidationError', message: 'The request body is too large.' };
  if (status !== undefined && status < 500)
    return { status, name: 'ValueError', message: 'The request is not valid.' };
  return {
    status: 500,
    name: 'RucioException',
    message: `An internal error occurred (request ${requestId}).`,
  };
}

/** `statusCode` of errors that Fastify raises itself. */
function statusOf(error: unknown): number | undefined {
  const found = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  return typeof found === 'number' ? found : undefined;
}

/** Header values hold one line of Latin-1; upstream cuts them to 125 characters. */
function headerText(message: string): string {
  const line = message.replace(/[^\x20-\x7e]+/g, ' ').trim();
  return line.length > 125 ? `${line.slice(0, 125)}...` : line;
}

export async function printError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const { status, name, message } = wireError(error, request.id);
  await reply
    .code(status)
    .header('exceptionclass', name)
    .header('exceptionmessage', headerText(message))
    .type('application/octet-stream')
    .send(JSON.stringify({ ExceptionClass: name, ExceptionMessage: message }));
}
