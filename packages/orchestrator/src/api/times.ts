/**
 * `2026-03-01T09:07+0000`: minutes, and a zone without colon. Clients cut it at fixed columns (brief 8.8).
 */
export function wireTime(time: Date): string {
  return `${time.toISOString().slice(0, 16)}+0000`;
}
