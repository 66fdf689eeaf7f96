import { readFileSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** A server on the loopback. */
export interface Target {
  readonly port: number;
  /** PEM file of the authority that its certificate comes from; without one it speaks plain HTTP. */
  readonly authority?: string;
}

export interface Load {
  readonly connections: number;
  readonly milliseconds: number;
  /** Head and body of the next request. */
  next(): string;
}

export interface Report {
  /** Answers a second. */
  readonly rate: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
}

/**
 * Keeps one request under way on each connection, and takes nothing but 200 for an answer. It speaks HTTP/1.1 by hand, so
 * that it costs little beside what it measures.
 */
export async function loadServer(target: Target, load: Load): Promise<Report> {
  const sockets = await Promise.all(Array.from({ length: load.connections }, () => openSocket(target)));
  const latencies: number[] = [];
  const startedAt = performance.now();
  try {
    await Promise.all(sockets.map((socket) => drive(socket, load, startedAt + load.milliseconds, latencies)));
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  const seconds = (performance.now() - startedAt) / 1000;
  latencies.sort((one, other) => one - other);
  const quantile = (part: number) => latencies[Math.floor((latencies.length - 1) * part)] ?? Number.NaN;
  return {
    rate: latencies.length / seconds,
    p50Milliseconds: quantile(0.5),
    p99Milliseconds: quantile(0.99),
  };
}

function openSocket({ port, authority }: Target): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const host = '127.0.0.1';
    const done = () => resolve(socket);
    const socket =
      authority === undefined
        ? connectPlain({ host, port }, done)
        : connectTls({ host, port, ca: readFileSync(authority), servername: 'localhost' }, done);
    socket.setNoDelay(true);
    socket.on('error', reject);
  });
}

function drive(socket: Socket, load: Load, until: number, latencies: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = '';
    let sentAt = 0;
    const send = () => {
      sentAt = performance.now();
      if (sentAt >= until) return resolve();
      socket.write(load.next());
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`the server closed a connection: ${received}`)));
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      const end = received.indexOf('\r\n\r\n');
      if (end === -1) return;
      const length = /\r\ncontent-length: *(\d+)/i.exec(received.slice(0, end))?.[1];
      if (length === undefined) return reject(new Error(`an answer without a length: ${received}`));
      if (received.length < end + 4 + Number(length)) return;
      if (!received.startsWith('HTTP/1.1 200')) return reject(new Error(received.slice(0, 500)));
      latencies.push(performance.now() - sentAt);
      received = '';
      send();
    });
    send();
  });
}
