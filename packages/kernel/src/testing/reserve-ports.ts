import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';

/** Below what systems give to whoever asks for any port, above what services use. */
const FIRST = 10_000;
const BEYOND = 22_000;
/** Ports are taken in blocks; the first of each is its mark. */
const BLOCK = 100;

/** What is left of this process's last block. */
const own = { next: 0, beyond: 0 };

/**
 * The first of `count` ports in a row (99 at most) for servers that start later, or again after they were killed. Whoever
 * asks the system for any port gets none of these, and no other test process takes them while this one lives: it listens
 * on the first port of the block as a mark. (A port that the system has found and that was closed again may be somebody's
 * a moment later, be it as the near end of a connection.)
 *
 * @example const port = await reservePorts(1);
 */
export async function reservePorts(count: number): Promise<number> {
  while (own.next + count > own.beyond) await takeBlock();
  const first = own.next;
  own.next += count;
  return first;
}

async function takeBlock(): Promise<void> {
  const blocks = Math.max(1, Math.floor((Math.min(BEYOND, firstEphemeral()) - FIRST) / BLOCK));
  for (let attempt = 0; attempt < 20 * blocks; attempt++) {
    const mark = FIRST + BLOCK * Math.floor(Math.random() * blocks);
    const server = await occupy(mark, '127.0.0.1');
    if (server === undefined) continue;
    if (await areFree(mark + 1, BLOCK - 1)) {
      server.unref();
      own.next = mark + 1;
      own.beyond = mark + BLOCK;
      return;
    }
    server.close();
  }
  throw new Error(`Every block of ${BLOCK} ports from ${FIRST} on has a port that is taken.`);
}

/** On every address: an instance listens on several. */
async function areFree(first: number, count: number): Promise<boolean> {
  for (let port = first; port < first + count; port++) {
    const server = await occupy(port, '0.0.0.0');
    if (server === undefined) return false;
    await new Promise((resolve) => server.close(resolve));
  }
  return true;
}

function occupy(port: number, host: string): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(undefined));
    server.listen(port, host, () => resolve(server));
  });
}

function firstEphemeral(): number {
  try {
    return Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
  } catch {
    // No Linux: they begin at 49152 (IANA).
    return BEYOND;
  }
}
