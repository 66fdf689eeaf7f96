import { once } from 'node:events';
import { createServer } from 'node:net';
import { connect } from 'node:tls';

/** A port of this machine on which a TLS server is spoken to without TLS. */
export interface PlainBridge {
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  close(): void;
}

/** Takes the TLS off, for clients that cannot be given a certificate authority. `ca` is its PEM. */
export async function bridgeTo(url: string, ca: string): Promise<PlainBridge> {
  const { hostname: host, port } = new URL(url);
  const server = createServer((plain) => {
    const secure = connect({ host, port: Number(port), ca });
    plain.pipe(secure).pipe(plain);
    plain.on('error', () => secure.destroy());
    secure.on('error', () => plain.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the bridge has no port');
  return { url: `http://127.0.0.1:${address.port}`, close: () => server.close() };
}
