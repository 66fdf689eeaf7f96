/** Slows down guessing: so many failures within the window, counted in this process, then nothing until it has passed. */
export interface FailureLimit {
  isBlocked(key: string): boolean;
  /** Until when nothing is heard from this key; 0: it may try now. */
  waitSeconds(key: string): number;
  failed(key: string): void;
}

/** Beyond this the keys that failed longest ago are forgotten, so that inventing keys costs us no memory. */
const KEYS = 10_000;

export function createFailureLimit(failures: number, windowMilliseconds: number): FailureLimit {
  const counts = new Map<string, { count: number; until: number }>();
  const waitSeconds = (key: string): number => {
    const entry = counts.get(key);
    if (entry === undefined || entry.count < failures) return 0;
    return Math.max(0, Math.ceil((entry.until - Date.now()) / 1000));
  };
  return {
    isBlocked: (key) => waitSeconds(key) > 0,
    waitSeconds,
    failed(key) {
      const entry = counts.get(key);
      const live = entry !== undefined && entry.until > Date.now();
      counts.delete(key);
      counts.set(key, { count: (live ? entry.count : 0) + 1, until: Date.now() + windowMilliseconds });
      const oldest = counts.size > KEYS ? counts.keys().next() : undefined;
      if (oldest !== undefined && !oldest.done) counts.delete(oldest.value);
    },
  };
}
