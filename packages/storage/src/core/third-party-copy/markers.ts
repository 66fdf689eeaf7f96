/** How far a copy is, for the client that asked for it. */
export interface Progress {
  readonly bytes: number;
  /** `tcp:192.0.2.5:443`, IPv6 in brackets. */
  readonly connections: readonly string[];
}

/**
 * One performance marker. The columns matter: davix skips a fixed number of them, so that exactly one space stands after
 * each colon (brief teapot 2.5).
 */
export function formatMarker(progress: Progress, now: Date): string {
  const lines = [
    'Perf Marker',
    `Timestamp: ${Math.floor(now.getTime() / 1000)}`,
    'Stripe Index: 0',
    `Stripe Bytes Transferred: ${progress.bytes}`,
    'Total Stripe Count: 1',
    ...(progress.connections.length > 0 ? [`RemoteConnections: ${progress.connections.join(',')}`] : []),
    'End',
  ];
  return `${lines.join('\n')}\n`;
}

/** A failure in one line, quotable in the user's error message. */
export function formatFailure(message: string): string {
  return `failure: ${message.replace(/\s+/g, ' ').slice(0, 900)}\n`;
}

export const SUCCESS = 'success: Created\n';
