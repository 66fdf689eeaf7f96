import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { Door } from '../core/door.ts';
import { invalidCaveat, readCaveats } from '../core/macaroons/bounds.ts';
import type { MacaroonRequest } from '../core/macaroons/macaroons.ts';
import { encodePath } from '../core/resource-path.ts';
import { acceptBody, type Exchange, type Handler } from './exchange.ts';
import { readBody } from './xml.ts';

const MAXIMUM_BYTES = 64 * 1024;

const bodySchema = z.object({
  caveats: z.array(z.string()).max(100).default([]),
  /** ISO 8601, `PT30M`. */
  validity: z.string(),
});

/** Whether a POST asks for a macaroon; nothing else can be posted to a file. */
export function asksForMacaroon(door: Door, request: IncomingMessage): boolean {
  return (
    door.macaroons !== undefined &&
    /^application\/macaroon-request\s*(;|$)/i.test(request.headers['content-type'] ?? '')
  );
}

/** POST `application/macaroon-request`: a macaroon for the path, in the dialect of dCache and XRootD (brief teapot 2.6). */
export const makeMacaroon: Handler = async (exchange) => {
  const { door, caller, target, response } = exchange;
  acceptBody(exchange);
  const request = parse(await readBody(exchange.request, MAXIMUM_BYTES));
  const made = await requireMacaroons(door).make(caller, {
    ...request,
    target: target.segments,
  });
  const base = `${door.config.url}/`;
  const file = `${door.config.url}${encodePath(target.segments, target.collection)}`;
  const withMacaroon = door.config.token_in_query
    ? { targetWithMacaroon: `${file}?authz=${made.text}`, baseWithMacaroon: `${base}?authz=${made.text}` }
    : {};
  const answer = JSON.stringify({
    macaroon: made.text,
    expires_in: secondsUntil(made.expiresAt),
    uri: { target: file, base, ...withMacaroon },
  });
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(answer),
    'cache-control': 'no-store',
  });
  response.end(answer);
};

function parse(body: Buffer): Pick<MacaroonRequest, 'activities' | 'caveats' | 'lifetimeSeconds'> {
  const parsed = bodySchema.safeParse(parseJson(body));
  if (!parsed.success) {
    throw new WeftError('invalid', 'invalid-macaroon-request', z.prettifyError(parsed.error));
  }
  const { caveats, validity } = parsed.data;
  const lifetimeSeconds = parseDuration(validity);
  const stated = readCaveats(caveats);
  const isActivity = (caveat: string) => caveat.startsWith('activity:');
  if (stated.activities.size === 0) throw invalidCaveat('no activity is left');
  return {
    activities: caveats.some(isActivity) ? stated.activities : undefined,
    caveats: caveats.filter((caveat) => !isActivity(caveat)),
    lifetimeSeconds,
  };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new WeftError('invalid', 'invalid-json', 'The body is not JSON.', { cause });
  }
}

const UNIT_SECONDS = [604_800, 86_400, 3_600, 60, 1];

/** ISO 8601 durations without years and months, whose length nobody knows. @example parseDuration('PT1H30M') // 5400 */
export function parseDuration(text: string): number {
  const parts =
    /^P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.\d+)?S)?)?$/.exec(
      text,
    );
  const seconds = (parts?.slice(1) ?? []).reduce(
    (sum, part, index) => sum + Number(part ?? 0) * (UNIT_SECONDS[index] ?? 0),
    0,
  );
  if (seconds > 0) return seconds;
  throw new WeftError('invalid', 'invalid-duration', 'A duration like PT30M is needed.');
}

export function secondsUntil(time: Date): number {
  return Math.max(0, Math.round((time.getTime() - Date.now()) / 1000));
}

export function requireMacaroons({ macaroons }: Exchange['door']) {
  if (macaroons) return macaroons;
  throw new WeftError('not-found', 'not-found', 'Macaroons are not offered here.');
}
