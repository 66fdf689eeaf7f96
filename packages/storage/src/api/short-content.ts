import type { IncomingMessage } from 'node:http';

/**
 * The body of a request that is so short that it may be kept in memory, as one piece: mostly it has come with the headers,
 * and reading a stream piece by piece would cost more than storing it.
 */
export async function* shortContent(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  yield await new Promise<Uint8Array>((resolve, reject) => {
    const chunks: Buffer[] = [];
    const leave = () => {
      request.off('data', onData);
      request.off('end', onEnd);
      request.off('error', onError);
      request.off('close', onClose);
    };
    const onData = (chunk: Buffer) => void chunks.push(chunk);
    const onEnd = () => {
      leave();
      const [first] = chunks;
      resolve(chunks.length === 1 && first ? first : Buffer.concat(chunks));
    };
    const onError = (error: Error) => {
      leave();
      reject(error);
    };
    const onClose = () => onError(Object.assign(new Error('The client has gone.'), { code: 'ECONNRESET' }));
    if (request.destroyed) return onClose();
    request.on('data', onData);
    request.on('end', onEnd);
    request.on('error', onError);
    request.on('close', onClose);
  });
}
