import { WeftError } from '@weft/kernel/errors';
import { authorise } from '../core/authorise.ts';
import type { Lock } from '../core/locks.ts';
import { plainPath } from '../core/resource-path.ts';
import { statIfThere } from '../core/stat-if-there.ts';
import { upload } from '../core/upload.ts';
import { printActiveLock } from './active-lock.ts';
import { acceptBody, answer, type Exchange, type Handler, header } from './exchange.ts';
import { evaluateIf } from './if-header.ts';
import { lockPrincipal } from './locking.ts';
import { childOf, childrenOf, DAV, parseXml, printXml, readBody } from './xml.ts';

/** Seconds (brief teapot 2.2). */
const DEFAULT_TIMEOUT = 600;
const MAXIMUM_TIMEOUT = 86_400;
const MAXIMUM_OWNER = 4096;

/** LOCK: a new lock, or with an empty body the refresh of one that the header `If` names (RFC 4918 section 9.10). */
export const lock: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  const place = door.areas.locate(target.segments);
  authorise(caller, 'create', place);
  const existing = await statIfThere(place);
  if (existing) authorise(caller, 'overwrite', place);
  acceptBody(exchange);
  const body = await readBody(request);
  const timeoutSeconds = readTimeout(header(request, 'timeout'));
  const submitted = await evaluateIf(door, request, target.segments);
  if (body.length === 0) return refresh(exchange, submitted, timeoutSeconds);

  const { shared, owner } = readLockInfo(body);
  const taken = await door.locks.acquire(target.segments, {
    path: plainPath(target.segments),
    deep: readDepth(header(request, 'depth')),
    shared,
    owner,
    principal: lockPrincipal(caller),
    timeoutSeconds,
  });
  if (!existing) {
    try {
      // A name that is locked before there is a file holds an empty one (RFC 4918 section 7.3).
      const membership = [{ path: target.segments, membership: true }];
      await door.locks.requireTokens(membership, new Set([...submitted, taken.token]), lockPrincipal(caller));
      await upload(door, place, emptyContent(), { replace: false, expectedBytes: 0 });
    } catch (error) {
      await door.locks.release(taken.token);
      throw error;
    }
  }
  sendLock(exchange, taken, existing ? 200 : 201, { 'lock-token': `<${taken.token}>` });
};

/** UNLOCK by whoever took the lock (RFC 4918 section 9.11). */
export const unlock: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  authorise(caller, 'create', door.areas.locate(target.segments));
  const token = /^\s*<([^<>]+)>\s*$/.exec(header(request, 'lock-token') ?? '')?.[1];
  if (token === undefined)
    throw new WeftError('invalid', 'no-lock-token', 'The header Lock-Token is missing or malformed.');
  const held = (await door.locks.find(target.segments)).find((candidate) => candidate.token === token);
  if (!held)
    throw new WeftError('conflict', 'lock-token-matches-request-uri', 'That lock does not cover the path.');
  if (held.principal !== lockPrincipal(caller)) {
    throw new WeftError('forbidden', 'not-lock-owner', 'The lock was taken by somebody else.');
  }
  await door.locks.release(token);
  answer(exchange, 204);
};

async function refresh(
  exchange: Exchange,
  submitted: ReadonlySet<string>,
  timeoutSeconds: number,
): Promise<void> {
  const { door, target, caller } = exchange;
  const held = (await door.locks.find(target.segments)).find(
    ({ token, principal }) => submitted.has(token) && principal === lockPrincipal(caller),
  );
  const refreshed = held && (await door.locks.refresh(held.token, timeoutSeconds));
  if (!refreshed)
    throw new WeftError(
      'precondition',
      'lock-token-matches-request-uri',
      'The header If names no lock of yours on this path.',
    );
  sendLock(exchange, refreshed, 200, {});
}

function sendLock({ response }: Exchange, held: Lock, status: number, headers: Record<string, string>): void {
  const body =
    '<?xml version="1.0" encoding="utf-8"?>\n<d:prop xmlns:d="DAV:"><d:lockdiscovery>' +
    `${printActiveLock(held)}</d:lockdiscovery></d:prop>\n`;
  response.writeHead(status, {
    'content-type': 'application/xml; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

function readLockInfo(body: Buffer): { shared: boolean; owner: string } {
  const root = parseXml(body);
  const scope = childOf(root, DAV, 'lockscope');
  const type = childOf(root, DAV, 'locktype');
  const kind = scope && childrenOf(scope)[0]?.name;
  if (root.namespace !== DAV || root.name !== 'lockinfo' || !type || !childOf(type, DAV, 'write')) {
    throw new WeftError('invalid', 'invalid-lockinfo', 'The body must be a DAV: lockinfo for a write lock.');
  }
  if (kind !== 'exclusive' && kind !== 'shared') {
    throw new WeftError('invalid', 'invalid-lockinfo', 'A lock is exclusive or shared.');
  }
  const owned = childOf(root, DAV, 'owner');
  const owner = owned ? printXml(owned) : '';
  // It stands in every listing of what the lock covers.
  if (owner.length > MAXIMUM_OWNER)
    throw new WeftError(
      'invalid',
      'invalid-lockinfo',
      `The owner is longer than ${MAXIMUM_OWNER} characters.`,
    );
  return { shared: kind === 'shared', owner };
}

/** @returns whether the lock is deep; infinity is the default. */
function readDepth(text: string | undefined): boolean {
  const depth = text?.toLowerCase() ?? 'infinity';
  if (depth !== '0' && depth !== 'infinity')
    throw new WeftError('invalid', 'invalid-depth', 'Depth must be 0 or infinity.');
  return depth === 'infinity';
}

/** `Timeout: Infinite, Second-4100000000`: the first that we understand, within our limit. */
function readTimeout(text: string | undefined): number {
  for (const part of text?.split(',') ?? []) {
    if (/^\s*infinite\s*$/i.test(part)) return MAXIMUM_TIMEOUT;
    const seconds = /^\s*second-(\d+)\s*$/i.exec(part)?.[1];
    if (seconds !== undefined) return Math.min(MAXIMUM_TIMEOUT, Math.max(1, Number(seconds)));
  }
  return DEFAULT_TIMEOUT;
}

async function* emptyContent(): AsyncGenerator<Uint8Array> {
  // Nothing to yield: an empty file.
}
