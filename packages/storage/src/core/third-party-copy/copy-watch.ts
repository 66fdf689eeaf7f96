import { WeftError } from '@weft/kernel/errors';
import type { StorageConfig } from '../../config.ts';

/** A server that computes a checksum reads its file at least so fast (brief teapot 2.4: what dCache grants). */
const SUMMING_BYTES_PER_SECOND = 10 * 1024 * 1024;
const LOOK_MILLISECONDS = 250;

/** How far a copy is, and whether it still makes sense to go on. */
export interface CopyWatch {
  /** Aborted with the reason when the copy is to end. */
  readonly signal: AbortSignal;
  bytes(): number;
  /** So many bytes have moved altogether. Never goes back, even where something is copied twice. */
  moved(bytes: number): void;
  /** Nothing moves for a while because a file of `bytes` is being summed, here or there. */
  summing(bytes: number): void;
  cancel(reason: WeftError): void;
  end(): void;
}

type Limits = Pick<
  StorageConfig['third_party_copy'],
  'first_byte_seconds' | 'idle_seconds' | 'minimum_bytes_per_second' | 'slow_seconds'
>;

/** Ends a copy in which nothing moves for too long, or next to nothing for longer (brief teapot 2.5). */
export function watchCopy(limits: Limits): CopyWatch {
  const controller = new AbortController();
  let bytes = 0;
  let deadline = performance.now() + limits.first_byte_seconds * 1000;
  /** Since when `bytes` are compared with the least that must move; nothing while none are due. */
  let window: { start: number; bytes: number } | undefined;

  const timer = setInterval(() => {
    const now = performance.now();
    if (now > deadline) {
      const text = 'The other side has sent or taken nothing for too long';
      return controller.abort(new WeftError('upstream', 'silent', text));
    }
    if (window === undefined || now < window.start + limits.slow_seconds * 1000) return;
    const moved = bytes - window.bytes;
    if (moved < limits.minimum_bytes_per_second * limits.slow_seconds) {
      const text = `The other side is too slow: ${moved} bytes in ${limits.slow_seconds} s`;
      return controller.abort(new WeftError('upstream', 'too-slow', text));
    }
    window = { start: now, bytes };
  }, LOOK_MILLISECONDS);

  return {
    signal: controller.signal,
    bytes: () => bytes,
    moved(now) {
      if (now <= bytes) return;
      window ??= { start: performance.now(), bytes };
      bytes = now;
      deadline = performance.now() + limits.idle_seconds * 1000;
    },
    summing(size) {
      window = undefined;
      deadline = performance.now() + (limits.idle_seconds + size / SUMMING_BYTES_PER_SECOND) * 1000;
    },
    cancel: (reason) => controller.abort(reason),
    end() {
      clearInterval(timer);
      // Whatever is still open towards the other side is of no use any more.
      controller.abort(new WeftError('gone', 'ended', 'The copy has ended'));
    },
  };
}
