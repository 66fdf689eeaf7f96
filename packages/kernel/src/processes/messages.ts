import { z } from 'zod';

/** So much may be used under a key by all processes of a group together. */
const turn = z.object({ key: z.string(), maximum: z.int().positive() });
export type Turn = z.output<typeof turn>;

/** What a process of a group tells the one that started it. `id` is answered; it is the asker's own number. */
export const fromProcess = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('failed'), message: z.string(), exitCode: z.int() }),
  z.object({ type: z.literal('listen'), id: z.int(), host: z.string(), port: z.int() }),
  /** From now on it takes connections of that listener. */
  z.object({ type: z.literal('open'), listener: z.string() }),
  /** It takes no more; answered when no more is on its way. */
  z.object({ type: z.literal('leave'), id: z.int(), listener: z.string() }),
  z.object({ type: z.literal('taken'), connection: z.int() }),
  z.object({ type: z.literal('ended') }),
  z.object({ type: z.literal('take-turns'), id: z.int(), turns: z.array(turn), wait: z.boolean() }),
  z.object({ type: z.literal('give-back'), id: z.int() }),
  z.object({ type: z.literal('ask'), id: z.int(), topic: z.string(), question: z.unknown() }),
  z.object({ type: z.literal('answer'), id: z.int(), answer: z.unknown() }),
]);
export type FromProcess = z.output<typeof fromProcess>;

export const toProcess = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('listening'),
    id: z.int(),
    /** Base64; the same for all, so that a TLS session can be resumed with any of them. */
    ticketKeys: z.string(),
    error: z.object({ code: z.string(), message: z.string() }).optional(),
  }),
  z.object({ type: z.literal('left'), id: z.int() }),
  /** One of the others has ended. */
  z.object({ type: z.literal('gone') }),
  /** The socket comes along. */
  z.object({ type: z.literal('connection'), connection: z.int(), listener: z.string() }),
  z.object({ type: z.literal('turns'), id: z.int(), full: z.string().optional() }),
  z.object({ type: z.literal('asked'), id: z.int(), topic: z.string(), question: z.unknown() }),
  z.object({
    type: z.literal('answers'),
    id: z.int(),
    answers: z.array(z.object({ process: z.int(), answer: z.unknown() })),
  }),
]);
export type ToProcess = z.output<typeof toProcess>;

/** Names a listener among those of a group. */
export function listenerKey(host: string, port: number): string {
  return `${host}:${port}`;
}

/** Tells a process of a group its place: `2/4`. */
export const PLACE = 'WEFT_PROCESS';
