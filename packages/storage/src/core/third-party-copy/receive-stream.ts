import { WeftError } from '@weft/kernel/errors';
import { isPassing, type OpenSource, openRange, pause, type Retries } from './open-source.ts';
import type { Partner } from './partner.ts';
import { describeRequest } from './remote-file.ts';

/** Breaks in one copy that are mended; more are no accident. */
const MAXIMUM_BREAKS = 5;

export interface StreamOptions {
  readonly retries: Retries;
  /** The most that a source may send that does not tell its length. */
  readonly maximumUnknownBytes: number;
  /** Where the stream ends, if before the end of the file. */
  readonly end?: MovingEnd;
}

/** An end that others move towards the beginning meanwhile. */
export interface MovingEnd {
  at(): number;
  /** Resolves when it will not move away from the beginning any more. */
  settled(): Promise<void>;
}

/**
 * The content of an open source. A connection that breaks is taken up where it broke, when what follows is sure to belong
 * to the same file: the source tells a strong ETag, or a checksum with which everything is compared in the end.
 */
export async function* contentOf(
  partner: Partner,
  source: OpenSource,
  options: StreamOptions,
): AsyncGenerator<Uint8Array> {
  const { length, url } = source;
  const mendable = source.etag !== undefined || Object.keys(source.digests).length > 0;
  const endOf = () => options.end?.at() ?? length ?? Number.POSITIVE_INFINITY;
  let { content } = source;
  let position = 0;
  for (let breaks = 0; ; ) {
    try {
      for await (const chunk of content) {
        if (length === undefined && position + chunk.length > options.maximumUnknownBytes) {
          throw new WeftError(
            'upstream',
            'endless',
            `${describeRequest('GET', url)} does not tell its length and has sent more than ${options.maximumUnknownBytes} bytes`,
          );
        }
        for (let rest: Uint8Array = chunk; rest.length > 0; ) {
          const left = endOf() - position;
          const part = rest.length <= left ? rest : rest.subarray(0, Math.max(0, left));
          rest = rest.subarray(part.length);
          position += part.length;
          // The receiver uses the part up.
          if (part.length > 0) yield part;
          if (options.end && position >= endOf()) {
            await options.end.settled();
            if (position >= endOf()) return;
          }
        }
      }
      if (length === undefined || position >= length) return;
      throw Object.assign(new Error('the content ended early'), { code: 'ECONNRESET' });
    } catch (error) {
      if (error instanceof WeftError) throw error;
      const broken = new WeftError(
        'upstream',
        'broken-off',
        `${describeRequest('GET', url)} broke off after ${position}${length === undefined ? '' : ` of ${length}`} bytes`,
        { cause: error },
      );
      options.retries.signal.throwIfAborted();
      if (!mendable || length === undefined || !isPassing(error)) throw broken;
      for (let opened = false; !opened; ) {
        if (++breaks > MAXIMUM_BREAKS) throw broken;
        await pause(options.retries, breaks - 1);
        try {
          content = await openRange(partner, source, { start: position, end: length });
          opened = true;
        } catch (refusal) {
          if (!isPassing(refusal)) throw refusal;
        }
      }
    }
  }
}
