import type { IncomingMessage } from 'node:http';

/**
 * Whether a client wants to be told at the end of a GET how it went, in the trailer `X-Transfer-Status` (XRootD's dialect):
 * then a failure in the middle need not break the connection.
 */
export function wantsTransferStatus({ headers }: IncomingMessage): boolean {
  return /(?:^|,)\s*trailers\b/i.test(String(headers.te ?? '')) && headers['x-transfer-status'] === 'true';
}

/** `200: OK`, or `500: ` and one line that says why. */
export function printTransferStatus(failure: string | undefined): string {
  return failure === undefined ? '200: OK' : `500: ${failure.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 500)}`;
}
