/** Slows down guessing: so many failures within the window, counted in this process, then nothing until it has passed. */
export interface FailureLimit {
  isBlocked(key: string): boolean;
  failed(key: string): void;
}

const KEYS = 10_000;

export function createFailureLimit(failures: number, windowMilliseconds: number): FailureLimit {
  const counts = new Map<string, { count: number; until: number }>();
  return {
    isBlocked(key) {
      const entry = counts.get(key);
      return entry !== undefined && entry.until > Date.now() && entry.count >= failures;
    },
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
