import { once } from 'node:events';
import { createServer, type TLSSocket } from 'node:tls';
import { ensureAuthority } from '../src/pki/index.ts';

/** A frame that a client sent. */
export interface Frame {
  readonly command: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface TestBroker {
  readonly url: string;
  readonly certificateAuthority: string;
  readonly sent: readonly Frame[];
  /** Swallows the next SEND without a receipt and cuts the connection, as a broker does that is killed. */
  breakOnce(): void;
  stop(): Promise<void>;
}

/** As much of a STOMP 1.2 broker as a sender sees, over TLS. */
export async function startTestBroker(folder: string): Promise<TestBroker> {
  const authority = await ensureAuthority(folder);
  const { certificate, key } = await authority.ensureServerCertificate('broker', {
    commonName: 'localhost',
    hosts: ['localhost'],
  });
  const sent: Frame[] = [];
  const sockets = new Set<TLSSocket>();
  let breaking = false;
  const server = createServer({ cert: certificate, key }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    let unread = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      unread += text;
      for (let end = unread.indexOf('\0'); end >= 0; end = unread.indexOf('\0')) {
        answer(socket, parseFrame(unread.slice(0, end)));
        unread = unread.slice(end + 1);
      }
    });
  });

  function answer(socket: TLSSocket, frame: Frame): void {
    const { login, receipt } = frame.headers;
    if (frame.command === 'CONNECT') {
      if (login === 'intruder') return void socket.end('ERROR\nmessage:Bad CONNECT\n\n\0');
      socket.write('CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0');
    } else if (frame.command === 'SEND') {
      if (breaking) {
        breaking = false;
        return void socket.destroy();
      }
      sent.push(frame);
    }
    if (receipt !== undefined) socket.write(`RECEIPT\nreceipt-id:${receipt}\n\n\0`);
  }

  server.listen(0, 'localhost');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `stomps://localhost:${address.port}`,
    certificateAuthority: authority.certificate,
    sent,
    breakOnce: () => {
      breaking = true;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function parseFrame(text: string): Frame {
  const [head = '', ...body] = text.trimStart().split('\n\n');
  const [command = '', ...lines] = head.split('\n');
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [
      line.slice(0, colon),
      line
        .slice(colon + 1)
        .replaceAll('\\c', ':')
        .trimEnd(),
    ];
  });
  return { command, headers: Object.fromEntries(headers), body: body.join('\n\n') };
}
