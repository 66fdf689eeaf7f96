import type { IncomingMessage } from 'node:http';

/** How long the other side may be silent in the middle of a body (brief teapot 3.8). */
const IDLE_MILLISECONDS = 120_000;

/**
 * Breaks the connection when nothing comes or goes for too long. Returns the function that ends the watch; once a request was
 * `answered` it leaves alone the time that Node then gives the connection for the next one.
 */
export function watchForSilence(request: IncomingMessage): (answered?: boolean) => void {
  const { socket } = request;
  const onTimeout = () => void socket.destroy(new Error('The client has gone silent.'));
  socket.setTimeout(IDLE_MILLISECONDS);
  socket.on('timeout', onTimeout);
  return (answered = false) => {
    socket.off('timeout', onTimeout);
    if (!answered) socket.setTimeout(0);
  };
}
