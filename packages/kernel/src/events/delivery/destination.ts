import type { CloudEvent } from '../types.ts';

/** Where the events of a subscription go. */
export interface Destination {
  /**
   * Resolves when the receiver has the event for good. Throws `RetryLater` or `GiveUp` when the receiver says so, and
   * any other error for a failed attempt.
   */
  send(event: CloudEvent, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
