import { redactText } from '@weft/kernel/telemetry';

/** How far a copy is, for the client that asked for it. */
export interface Progress {
  readonly bytes: number;
  /** `tcp:192.0.2.5:443`, IPv6 in brackets. */
  readonly connections: readonly string[];
}

/** davix takes no line of 1024 bytes or more (brief teapot 2.5). */
const MAXIMUM_CONNECTIONS = 16;

/**
 * One performance marker. The columns matter: davix skips a fixed number of them, so that exactly one space stands after
 * each colon (brief teapot 2.5). Several streams are one stripe: they end in one file.
 */
export function formatMarker(progress: Progress, now: Date): string {
  const connections = progress.connections.slice(0, MAXIMUM_CONNECTIONS);
  const lines = [
    'Perf Marker',
    `Timestamp: ${Math.floor(now.getTime() / 1000)}`,
    'Stripe Index: 0',
    `Stripe Bytes Transferred: ${progress.bytes}`,
    'Total Stripe Count: 1',
    ...(connections.length > 0 ? [`RemoteConnections: ${connections.join(',')}`] : []),
    'End',
  ];
  return `${lines.join('\n')}\n`;
}

/** A failure in one line, quotable in the user's error message: no control characters, nothing secret. */
export function formatFailure(message: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what a partner sends is quoted, and may hold any of them.
  const line = redactText(message).replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ');
  return `failure: ${line.trim().slice(0, 900)}\n`;
}

export const SUCCESS = 'success: Created\n';
