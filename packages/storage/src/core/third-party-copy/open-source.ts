import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '@weft/kernel/errors';
import type { Digests } from '../checksums/digests.ts';
import type { DigestedAnswer } from './ask-with-digest.ts';
import { askWithDigest } from './ask-with-digest.ts';
import type { Answer, Partner } from './partner.ts';
import { describeRequest } from './remote-file.ts';
import { remoteRefusal } from './remote-refusal.ts';

/** A source that has begun to send its file. */
export interface OpenSource {
  readonly url: URL;
  readonly content: Answer['content'];
  /** Ends it, whether it is being read or not. */
  close(): void;
  /** Bytes; nothing when the source does not say. */
  readonly length: number | undefined;
  readonly digests: Digests;
  /** Only when it is a strong one, which changes with every byte (RFC 9110 section 8.8.1). */
  readonly etag: string | undefined;
  /** False: it says that it sends no parts. Many say nothing and do (XRootD). */
  readonly ranges: boolean;
}

/** How often a copy is tried again, and how long it waits before the first time; doubled each time. */
export interface Retries {
  readonly pauseSeconds: number;
  readonly signal: AbortSignal;
}

/** Before the first byte has come (brief teapot 2.5). */
const MAXIMUM_OPENINGS = 3;

/** Opens the source; one that is busy or cannot be reached is asked again. @throws {WeftError} its refusal. */
export async function openSource(partner: Partner, retries: Retries): Promise<OpenSource> {
  for (let failures = 0; ; failures++) {
    try {
      const answer = await askWithDigest(partner, 'GET');
      if (answer.status === 200) return sourceOf(answer);
      throw await remoteRefusal('GET', answer);
    } catch (error) {
      if (failures === MAXIMUM_OPENINGS || !isPassing(error)) throw error;
      await pause(retries, failures);
    }
  }
}

function sourceOf(answer: DigestedAnswer): OpenSource {
  const { url, body, header } = answer;
  const encoding = header('content-encoding');
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    body.destroy();
    throw new WeftError(
      'upstream',
      'encoded-content',
      `${describeRequest('GET', url)} sent content in the encoding ${encoding.slice(0, 40)}, which nobody asked for`,
    );
  }
  const length = header('content-length');
  const etag = header('etag');
  try {
    return {
      url,
      content: answer.content,
      close: () => void body.destroy(),
      length: length === undefined ? undefined : Number(length),
      digests: answer.digests(),
      etag: etag !== undefined && /^"[^"]*"$/.test(etag) ? etag : undefined,
      ranges: header('accept-ranges')?.toLowerCase() !== 'none',
    };
  } catch (error) {
    body.destroy();
    throw error;
  }
}

/**
 * Bytes from `start` on, up to but not including `end`.
 *
 * @throws {WeftError} `upstream`, code `range-refused`: anything else came, or the file is another one by now.
 */
export async function openRange(
  partner: Partner,
  source: OpenSource,
  range: { start: number; end: number },
  signal?: AbortSignal,
): Promise<Answer['content']> {
  const answer = await partner.ask({
    method: 'GET',
    headers: {
      range: `bytes=${range.start}-${range.end - 1}`,
      ...(source.etag === undefined ? {} : { 'if-match': source.etag, 'if-range': source.etag }),
    },
    ...(signal ? { signal } : {}),
  });
  const { status, url } = answer;
  if (status === 503) throw await remoteRefusal('GET', answer);
  const refuse = (why: string) => {
    answer.body.destroy();
    return new WeftError(
      'upstream',
      'range-refused',
      `${describeRequest('GET', url)} ${why} for bytes ${range.start} to ${range.end - 1}`,
    );
  };
  if (status === 412) throw refuse('answered that the file has changed when asked');
  if (status !== 206) throw refuse(`answered ${status} when asked`);
  const content = answer.header('content-range');
  if (content !== `bytes ${range.start}-${range.end - 1}/${source.length}`) {
    throw refuse(`sent the part "${(content ?? '').slice(0, 80)}" when asked`);
  }
  const etag = answer.header('etag');
  if (source.etag !== undefined && etag !== undefined && etag !== source.etag) {
    throw refuse('answered with another ETag when asked');
  }
  return answer.content;
}

/** Of connections that failed or broke; what a certificate or a malformed answer is wrong in stays wrong. */
const PASSING_CODES =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|ERR_STREAM_PREMATURE_CLOSE)$/;

/** Whether trying again may help: the connection, or a server that says that it is busy. */
export function isPassing(error: unknown): boolean {
  if (error instanceof WeftError && error.code === 'remote-failed')
    return / answered 503\b/.test(error.message);
  const cause = error instanceof WeftError && error.code === 'request-failed' ? error.cause : error;
  return (
    cause instanceof Error &&
    'code' in cause &&
    typeof cause.code === 'string' &&
    PASSING_CODES.test(cause.code)
  );
}

export async function pause({ pauseSeconds, signal }: Retries, failures: number): Promise<void> {
  await sleep(pauseSeconds * 1000 * 2 ** failures, undefined, { signal });
}
