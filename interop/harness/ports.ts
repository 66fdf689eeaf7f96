import { createServer } from 'node:net';

/** The instance's ports; those of everything else that a run starts come after them. */
export const PORT_BASE = Number(process.env.WEFT_INTEROP_PORT_BASE ?? 23_000);
export const PACKED_PORT_BASE = PORT_BASE + 200;

let next = PORT_BASE + 100;

/**
 * A port for a server that starts later. None of those that the system gives to whoever asks for any, as to the near end of
 * a connection: such a one may be gone before the server starts.
 */
export async function freePort(): Promise<number> {
  for (; next < PACKED_PORT_BASE; next++) if (await isFree(next)) return next++;
  throw new Error(`no port from ${PORT_BASE + 100} to ${PACKED_PORT_BASE} is free`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(false));
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)));
  });
}
