import type { FastifyInstance, FastifyRequest } from 'fastify';

/** What honest callers never need for a body that is read whole (Node's own limit for a request, RFC 9110 section 15.5.9). */
const BODY_MILLISECONDS = 5 * 60_000;
/** How long the rest of a body may take to come that nobody reads: a caller who was refused gets to read why. */
const REST_MILLISECONDS = 10_000;

/**
 * Breaks connections on which a body trickles in: whoever opens thousands of them, without any credential, would keep a
 * descriptor of ours for each, for ever. Bodies that the handler streams have limits of its own; what is left of them when
 * the answer is out counts here.
 */
export function breakSlowBodies(
  app: FastifyInstance,
  { rawBodies = false, bodyMilliseconds = BODY_MILLISECONDS },
): void {
  const running = new WeakMap<FastifyRequest, NodeJS.Timeout>();
  const breakAfter = (request: FastifyRequest, milliseconds: number) => {
    const timer = setTimeout(() => void request.raw.destroy(), milliseconds);
    timer.unref();
    return timer;
  };
  if (!rawBodies) {
    app.addHook('preParsing', (request, _reply, _payload, done) => {
      if (!request.raw.complete) running.set(request, breakAfter(request, bodyMilliseconds));
      done();
    });
    app.addHook('preValidation', (request, _reply, done) => {
      clearTimeout(running.get(request));
      done();
    });
  }
  app.addHook('onResponse', async (request) => {
    clearTimeout(running.get(request));
    const { raw } = request;
    if (raw.complete) return;
    const timer = breakAfter(request, Math.min(REST_MILLISECONDS, bodyMilliseconds));
    raw.once('end', () => clearTimeout(timer));
  });
}
