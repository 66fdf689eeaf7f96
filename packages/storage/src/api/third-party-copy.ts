import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { describeError, WeftError } from '@weft/kernel/errors';
import { authorise, authoriseBytes } from '../core/authorise.ts';
import { formatFailure, formatMarker, SUCCESS } from '../core/third-party-copy/markers.ts';
import { type CopyOptions, openSource, pull } from '../core/third-party-copy/pull.ts';
import { push, refuseExistingTarget } from '../core/third-party-copy/push.ts';
import { parseRemoteUrl, type RemoteAnswer, type RemoteFile } from '../core/third-party-copy/remote.ts';
import { statIfThere } from '../core/upload.ts';
import type { Exchange, Handler } from './exchange.ts';
import { header } from './exchange.ts';
import { requireUnlocked } from './locking.ts';
import { overwrites } from './move-copy.ts';

/**
 * How long a pull waits for the source's first answer before it says 202: a definite refusal (404, 403) is worth more as
 * a status than in the body, but a source that must fetch from tape may take long (brief teapot 2.5).
 */
const DEFINITE_ANSWER_MILLISECONDS = 5_000;

/** Names that the other side's server must hear from its own client only. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'proxy-authorization',
  'proxy-connection',
]);

/** COPY as HTTP third-party copy: `Source` pulls, a `Destination` elsewhere pushes (brief teapot 2.5). */
export const thirdPartyCopy: Handler = async (exchange) => {
  const { request } = exchange;
  const source = header(request, 'source');
  const destination = header(request, 'destination');
  if (source !== undefined && destination !== undefined) {
    throw new WeftError('invalid', 'source-and-destination', 'COPY takes Source or Destination, not both.');
  }
  const release = takeTurn(exchange);
  const silence = watchSilence(exchange);
  try {
    if (source !== undefined) await pullFrom(exchange, parseRemoteUrl(source), silence);
    else await pushTo(exchange, parseRemoteUrl(destination ?? ''), silence);
  } finally {
    silence.end();
    release();
  }
};

async function pullFrom(exchange: Exchange, url: URL, silence: Silence): Promise<void> {
  const { door, request, target, caller } = exchange;
  const place = door.areas.locate(target.segments);
  authorise(caller, 'create', place);
  const existing = await statIfThere(place);
  if (existing) authorise(caller, 'overwrite', place);
  const remote = readRemote(request, url);
  const options = readOptions(exchange, silence);
  if (existing?.kind === 'collection')
    throw new WeftError('invalid', 'is-collection', 'A collection has that name.');
  if (existing && !options.overwrite)
    throw new WeftError('precondition', 'exists', 'The file exists, and Overwrite is F.');

  await requireUnlocked(exchange, [{ path: place.path, membership: !existing }]);

  const opening = openSource(door, remote, options.signal);
  const early = await Promise.race([opening, delay(DEFINITE_ANSWER_MILLISECONDS)]);
  await report(exchange, remote, silence, async () => {
    const answer: RemoteAnswer = early ?? (await opening);
    await pull(door, place, remote, answer, options);
  });
}

async function pushTo(exchange: Exchange, url: URL, silence: Silence): Promise<void> {
  const { door, request, target, caller } = exchange;
  const place = door.areas.locate(target.segments);
  authorise(caller, 'read-data', place);
  const remote = readRemote(request, url);
  const options = readOptions(exchange, silence);
  const facts = await place.area.files.stat(place.inner);
  if (facts.kind === 'collection')
    throw new WeftError('invalid', 'is-collection', 'Collections are not copied to other servers.');
  if (!options.overwrite) await refuseExistingTarget(door, remote, options.signal);
  const file = await place.area.files.open(place.inner);
  try {
    await report(exchange, remote, silence, () => push(door, place, file, remote, options));
  } finally {
    await file.close();
  }
}

/** Answers 202, tells how far the copy is until it ends, and how it ended. A client that goes away cancels it. */
async function report(
  exchange: Exchange,
  remote: RemoteFile,
  silence: Silence,
  work: () => Promise<void>,
): Promise<void> {
  const { door, response } = exchange;
  const connections = connectionsOf(remote.url);
  const mark = () => void response.write(formatMarker({ bytes: silence.bytes(), connections }, new Date()));
  response.writeHead(202, { 'content-type': 'text/plain', 'cache-control': 'no-store' });
  mark();
  const timer = setInterval(mark, door.config.third_party_copy.marker_seconds * 1000);
  let outcome = SUCCESS;
  try {
    await work();
    silence.touch();
  } catch (error) {
    const reason: unknown = silence.signal.aborted ? silence.signal.reason : error;
    outcome = formatFailure(describeError(reason));
    door.context.log.warn(
      { error: describeError(reason), remote: remote.url.origin },
      'third-party copy failed',
    );
  } finally {
    clearInterval(timer);
  }
  if (response.destroyed) return;
  mark();
  response.end(outcome);
}

/** How long nothing has moved, and whether anybody still wants the copy. */
interface Silence {
  readonly signal: AbortSignal;
  bytes(): number;
  touch(bytes?: number): void;
  end(): void;
}

function watchSilence({ door, response }: Exchange): Silence {
  const { first_byte_seconds, idle_seconds } = door.config.third_party_copy;
  const controller = new AbortController();
  let bytes = 0;
  let deadline = Date.now() + first_byte_seconds * 1000;
  const timer = setInterval(() => {
    if (Date.now() > deadline)
      controller.abort(
        new WeftError('upstream', 'silent', 'The other side has sent or taken nothing for too long'),
      );
  }, 500);
  const onClose = () => {
    if (!response.writableFinished)
      controller.abort(new WeftError('gone', 'cancelled', 'The client has gone away'));
  };
  response.on('close', onClose);
  return {
    signal: controller.signal,
    bytes: () => bytes,
    touch: (moved = bytes) => {
      bytes = moved;
      deadline = Date.now() + idle_seconds * 1000;
    },
    end: () => {
      clearInterval(timer);
      response.off('close', onClose);
      // Whatever is still open towards the other side is of no use any more.
      controller.abort(new WeftError('gone', 'ended', 'The copy has ended'));
    },
  };
}

const running = new WeakMap<Exchange['door']['config'], { count: number }>();

/** @throws {WeftError} `unavailable` when too many copies run. */
function takeTurn({ door, response }: { door: Exchange['door']; response: ServerResponse }): () => void {
  const state = running.get(door.config) ?? { count: 0 };
  running.set(door.config, state);
  if (state.count >= door.config.third_party_copy.maximum) {
    response.setHeader('retry-after', '5');
    throw new WeftError(
      'unavailable',
      'too-many-copies',
      'Too many third-party copies are running; try again.',
    );
  }
  state.count += 1;
  return () => {
    state.count -= 1;
  };
}

function readOptions({ door, request, caller }: Exchange, silence: Silence): CopyOptions {
  const credential = header(request, 'credential')?.toLowerCase();
  if (credential !== undefined && credential !== 'none') {
    throw new WeftError(
      'invalid',
      'credential',
      `Credential: ${credential} is not offered; send a TransferHeaderAuthorization.`,
    );
  }
  const verification = header(request, 'requirechecksumverification')?.toLowerCase();
  if (verification !== undefined && verification !== 'true' && verification !== 'false') {
    throw new WeftError(
      'invalid',
      'require-checksum-verification',
      'RequireChecksumVerification must be true or false.',
    );
  }
  const streams = Number(header(request, 'x-number-of-streams') ?? '0');
  if (!(streams >= 0 && streams <= 100))
    throw new WeftError('invalid', 'streams', 'X-Number-Of-Streams must be at most 100.');
  return {
    overwrite: overwrites(request),
    requireChecksum:
      verification === undefined ? door.config.third_party_copy.require_checksum : verification === 'true',
    signal: silence.signal,
    onProgress: (bytes) => {
      authoriseBytes(caller, bytes);
      silence.touch(bytes);
    },
  };
}

/** `TransferHeaderX: v` and XRootD's `Copy-Header: X: v`, with the case that the client gave the names. */
function readRemote(request: IncomingMessage, url: URL): RemoteFile {
  const headers: Record<string, string> = {};
  const add = (name: string, value: string) => {
    if (name === '' || NOT_FORWARDED.has(name.toLowerCase())) return;
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      throw new WeftError('invalid', 'transfer-header', 'A TransferHeader has no usable name.');
    }
    headers[name] = value.trim();
  };
  const { rawHeaders } = request;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    if (/^transferheader/i.test(name)) add(name.slice('transferheader'.length), value);
    if (/^copy-header$/i.test(name)) {
      const colon = value.indexOf(':');
      if (colon > 0) add(value.slice(0, colon).trim(), value.slice(colon + 1));
    }
  }
  return { url, headers };
}

/** Told when the address stands in the URL; names are resolved where the connection is made. */
function connectionsOf(url: URL): string[] {
  const address = url.hostname.replace(/^\[|\]$/g, '');
  return isIP(address) === 0
    ? []
    : [`tcp:${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`];
}

function delay(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds, undefined).unref();
  });
}
