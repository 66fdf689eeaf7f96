import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, WeftError } from '@weft/kernel/errors';
import { authorise, authoriseBytes, mayDo } from '../core/authorise.ts';
import { plainPath } from '../core/resource-path.ts';
import type { BegunCopy } from '../core/running/running-copies.ts';
import { statIfThere } from '../core/stat-if-there.ts';
import { type CopyWatch, watchCopy } from '../core/third-party-copy/copy-watch.ts';
import { markFlows, parseSciTag } from '../core/third-party-copy/flow-marks.ts';
import { formatFailure, formatMarker, SUCCESS } from '../core/third-party-copy/markers.ts';
import { openSource } from '../core/third-party-copy/open-source.ts';
import { openPartner, type Partner } from '../core/third-party-copy/partner.ts';
import { type CopyOptions, pull } from '../core/third-party-copy/pull.ts';
import { lookAtTarget, push } from '../core/third-party-copy/push.ts';
import { parseRemoteUrl, type RemoteFile } from '../core/third-party-copy/remote-file.ts';
import { takeTurn } from '../core/third-party-copy/turns.ts';
import { readCopyRequest, readRemote } from './copy-request.ts';
import { type Exchange, type Handler, header } from './exchange.ts';
import { requireUnlocked } from './locking.ts';
import { meterCopy } from './metering.ts';

/**
 * How long a copy waits for the other side's first answer before it says 202: a definite refusal (404, 403) is worth more
 * as a status than in the body, but a source that must fetch from tape may take long (brief teapot 2.5).
 */
const DEFINITE_ANSWER_MILLISECONDS = 5_000;

/** COPY as HTTP third-party copy: `Source` pulls, a `Destination` elsewhere pushes (brief teapot 2.5). */
export const thirdPartyCopy: Handler = async (exchange) => {
  const { door, request, caller } = exchange;
  const source = header(request, 'source');
  const destination = header(request, 'destination');
  if (source !== undefined && destination !== undefined) {
    throw new WeftError('invalid', 'source-and-destination', 'COPY takes Source or Destination, not both.');
  }
  // What we ask of other servers is asked in somebody's name.
  if (caller.anonymous)
    throw new WeftError(
      'unauthenticated',
      'missing_token',
      'A bearer token is needed for a third-party copy.',
    );
  const giveBack = await takeTurn(door, caller);
  const watch = watchCopy(door.config.third_party_copy);
  const stopListening = cancelWithClient(exchange, watch);
  try {
    if (source !== undefined) await pullFrom(exchange, parseRemoteUrl(source), watch);
    else await pushTo(exchange, parseRemoteUrl(destination ?? ''), watch);
  } finally {
    stopListening();
    watch.end();
    giveBack();
  }
};

async function pullFrom(exchange: Exchange, url: URL, watch: CopyWatch): Promise<void> {
  const { door, request, target, caller } = exchange;
  const place = door.areas.locate(target.segments);
  authorise(caller, 'create', place);
  const existing = await statIfThere(place);
  if (existing) authorise(caller, 'overwrite', place);
  const remote = readRemote(request, url);
  const options = readOptions(exchange, watch);
  if (existing?.kind === 'collection')
    throw new WeftError('invalid', 'is-collection', 'A collection has that name.');
  if (existing && !options.overwrite)
    throw new WeftError('precondition', 'exists', 'The file exists, and Overwrite is F.');

  await requireUnlocked(exchange, [{ path: place.path, membership: !existing }]);

  await withPartner(exchange, remote, watch, async (partner) => {
    const pauseSeconds = door.config.third_party_copy.retry_seconds;
    const opening = openSource(partner, { pauseSeconds, signal: watch.signal });
    await definiteAnswer(opening);
    await report(exchange, remote, partner, watch, async () => {
      const source = await opening;
      authoriseBytes(caller, source.length ?? 0);
      await pull(door, place, partner, source, {
        ...options,
        // Not even by a file that has come there meanwhile.
        overwrite: options.overwrite && mayDo(caller, 'overwrite', target.segments),
      });
    });
  });
}

async function pushTo(exchange: Exchange, url: URL, watch: CopyWatch): Promise<void> {
  const { door, request, target, caller } = exchange;
  const place = door.areas.locate(target.segments);
  authorise(caller, 'read-data', place);
  const remote = readRemote(request, url);
  const options = readOptions(exchange, watch);
  const facts = await place.area.files.stat(place.inner);
  if (facts.kind === 'collection')
    throw new WeftError('invalid', 'is-collection', 'Collections are not copied to other servers.');
  const file = await place.area.files.open(place.inner);
  try {
    await withPartner(exchange, remote, watch, async (partner) => {
      const looking = lookAtTarget(partner, options);
      await definiteAnswer(looking);
      await report(exchange, remote, partner, watch, async () =>
        push(door, place, file, remote, partner, await looking, options),
      );
    });
  } finally {
    await file.close();
  }
}

async function withPartner(
  { door, request }: Exchange,
  remote: RemoteFile,
  watch: CopyWatch,
  work: (partner: Partner) => Promise<void>,
): Promise<void> {
  const partner = openPartner(door.context.outgoing, remote, watch.signal, flowMarks(door, request));
  try {
    await work(partner);
  } finally {
    partner.close();
  }
}

/** Tells the network what the connections of a copy are for, where flowd listens and the client has said it. */
function flowMarks({ config, context: { log } }: Exchange['door'], request: Exchange['request']) {
  const { flowd_pipe: pipe } = config.third_party_copy;
  const tag = parseSciTag(header(request, 'scitag') ?? header(request, 'transferheaderscitag'));
  const direction = header(request, 'source') === undefined ? 'push' : 'pull';
  return pipe === undefined || !tag ? undefined : markFlows(tag, { pipe, direction, log });
}

/** Throws what goes wrong soon; what takes longer is told in the body. */
async function definiteAnswer(asking: Promise<unknown>): Promise<void> {
  const ended = new AbortController();
  try {
    await Promise.race([
      asking,
      sleep(DEFINITE_ANSWER_MILLISECONDS, undefined, { signal: ended.signal }).catch(() => undefined),
    ]);
  } finally {
    ended.abort();
  }
}

/** Answers 202, tells how far the copy is until it ends, and how it ended. */
async function report(
  { door, request, response, target, caller }: Exchange,
  remote: RemoteFile,
  partner: Partner,
  watch: CopyWatch,
  work: () => Promise<void>,
): Promise<void> {
  const mark = () => {
    const progress = { bytes: watch.bytes(), connections: partner.connections() };
    response.write(formatMarker(progress, new Date()));
  };
  const direction = header(request, 'source') === undefined ? 'push' : 'pull';
  const { issuer, subject } = caller;
  const { origin, pathname } = remote.url;
  const copy: BegunCopy = {
    issuer,
    subject,
    account: door.account ?? '',
    direction,
    path: plainPath(target.segments),
    remote: `${origin}${pathname}`,
  };
  const listed = await door.copies.begin(copy, {
    bytes: watch.bytes,
    cancel: (by) => {
      const whose = by === `${issuer} ${subject}` ? 'its owner' : 'an administrator';
      watch.cancel(new WeftError('gone', 'cancelled', `Cancelled by ${whose}`));
    },
  });
  response.writeHead(202, { 'content-type': 'text/plain', 'cache-control': 'no-store' });
  mark();
  const timer = setInterval(mark, door.config.third_party_copy.marker_seconds * 1000);
  const end = meterCopy(door, target.segments, direction);
  let outcome = SUCCESS;
  try {
    await work();
  } catch (error) {
    const reason = describeError(watch.signal.aborted ? watch.signal.reason : error);
    outcome = formatFailure(reason);
    door.context.log.warn({ copy: listed.id, error: reason }, 'third-party copy failed');
  } finally {
    clearInterval(timer);
    const succeeded = outcome === SUCCESS;
    door.context.log.info({ copy: listed.id, ...copy, bytes: watch.bytes(), succeeded }, 'third-party copy');
    end({ succeeded, bytes: watch.bytes() });
    await listed.end();
  }
  if (response.destroyed) return;
  mark();
  response.end(outcome);
}

/** A client that goes away cancels its copy. Returns the function that stops listening for that. */
function cancelWithClient({ response }: Exchange, watch: CopyWatch): () => void {
  const onClose = () => {
    if (!response.writableFinished)
      watch.cancel(new WeftError('gone', 'cancelled', 'The client has gone away'));
  };
  response.on('close', onClose);
  return () => response.off('close', onClose);
}

function readOptions({ door, request, caller }: Exchange, watch: CopyWatch): CopyOptions {
  const { overwrite, requireChecksum, streams } = readCopyRequest(request);
  return {
    overwrite,
    streams,
    requireChecksum: requireChecksum ?? door.config.third_party_copy.require_checksum,
    watch,
    onBytes: (bytes) => {
      authoriseBytes(caller, bytes);
      watch.moved(bytes);
    },
  };
}
