// A load of small requests over TLS with keep-alive, in a process of its own; the same for every server. It speaks HTTP/1.1
// by hand, so that it costs little beside what it measures: `node small-requests.ts`, jobs come as messages.
import { readFileSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';

/** `count` requests: `method` on `prefix` plus a number each. */
export interface Job {
  readonly port: number;
  readonly authority: string;
  readonly connections: number;
  readonly method: 'PUT' | 'HEAD' | 'GET' | 'DELETE';
  readonly prefix: string;
  readonly count: number;
  readonly token: string | null;
  /** Bytes of a PUT. */
  readonly bytes: number;
}

export interface JobReport {
  /** From the first request to the last answer; connections were open before. */
  readonly seconds: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly medianMilliseconds: number;
  readonly slowestMilliseconds: number;
}

async function run(job: Job): Promise<JobReport> {
  const ca = readFileSync(job.authority);
  const sockets = await Promise.all(
    Array.from(
      { length: job.connections },
      () =>
        new Promise<TLSSocket>((resolve, reject) => {
          const socket = connect({ host: '127.0.0.1', port: job.port, ca, servername: 'localhost' }, () =>
            resolve(socket),
          );
          socket.setNoDelay(true);
          socket.on('error', reject);
        }),
    ),
  );
  const body = 'x'.repeat(job.bytes);
  const headers =
    `Host: 127.0.0.1:${job.port}\r\n` +
    (job.token === null ? '' : `Authorization: Bearer ${job.token}\r\n`) +
    (job.method === 'PUT' ? `Content-Length: ${job.bytes}\r\n\r\n${body}` : '\r\n');
  const statuses: Record<string, number> = {};
  const latencies: number[] = [];
  let next = 0;
  const startedAt = performance.now();
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let received = '';
          let sentAt = 0;
          const send = () => {
            if (next === job.count) return resolve();
            sentAt = performance.now();
            socket.write(`${job.method} ${job.prefix}${next++} HTTP/1.1\r\n${headers}`);
          };
          socket.on('error', reject);
          socket.on('close', () => reject(new Error(`the server closed a connection: ${received}`)));
          socket.on('data', (chunk: Buffer) => {
            received += chunk.toString('latin1');
            const end = received.indexOf('\r\n\r\n');
            if (end === -1) return;
            const status = received.slice(9, 12);
            const bodiless = job.method === 'HEAD' || status === '204' || status === '304';
            if (!bodiless && received.length < end + 4 + lengthOf(received, end)) return;
            latencies.push(performance.now() - sentAt);
            statuses[status] = (statuses[status] ?? 0) + 1;
            received = '';
            send();
          });
          send();
        }),
    ),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  for (const socket of sockets) {
    socket.removeAllListeners('close');
    socket.destroy();
  }
  latencies.sort((one, other) => one - other);
  return {
    seconds,
    statuses,
    medianMilliseconds: latencies[latencies.length >> 1] ?? 0,
    slowestMilliseconds: latencies.at(-1) ?? 0,
  };
}

function lengthOf(text: string, end: number): number {
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1];
  if (length === undefined) throw new Error(`an answer without a length: ${text.slice(0, end)}`);
  return Number(length);
}

process.on('message', (job: Job) => {
  run(job).then(
    (report) => process.send?.(report),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.send?.('ready');
