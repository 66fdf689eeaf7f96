/** A bounded map whose entries expire; the least recently used goes first. Times are milliseconds since 1970. */
export interface TokenCache<Verdict> {
  get(key: string, now: number): Verdict | undefined;
  set(key: string, verdict: Verdict, expiresAt: number): void;
  clear(): void;
}

export function createTokenCache<Verdict>(capacity: number): TokenCache<Verdict> {
  const entries = new Map<string, { verdict: Verdict; expiresAt: number }>();
  return {
    get(key, now) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      entries.delete(key);
      if (entry.expiresAt <= now) return undefined;
      entries.set(key, entry);
      return entry.verdict;
    },
    set(key, verdict, expiresAt) {
      entries.delete(key);
      entries.set(key, { verdict, expiresAt });
      if (entries.size <= capacity) return;
      const oldest = entries.keys().next();
      if (!oldest.done) entries.delete(oldest.value);
    },
    clear: () => entries.clear(),
  };
}
