/** A bounded map whose entries expire; what was not asked for lately goes first. Times are milliseconds since 1970. */
export interface TokenCache<Verdict> {
  get(key: string, now: number): Verdict | undefined;
  set(key: string, verdict: Verdict, expiresAt: number): void;
  delete(key: string): void;
  clear(): void;
}

interface Entry<Verdict> {
  readonly verdict: Verdict;
  readonly expiresAt: number;
}

/**
 * Holds at most `capacity` entries in two halves: entries go into the young half, and when that is full, the old half is
 * thrown away and the young one becomes old. An entry that is asked for in the old half moves to the young one. Finding
 * an entry is then one look-up, where a list in order of use would be rewritten every time.
 */
export function createTokenCache<Verdict>(capacity: number): TokenCache<Verdict> {
  const half = Math.max(1, capacity >> 1);
  let young = new Map<string, Entry<Verdict>>();
  let old = new Map<string, Entry<Verdict>>();

  function put(key: string, entry: Entry<Verdict>): void {
    if (young.size >= half && !young.has(key)) {
      old = young;
      young = new Map();
    }
    young.set(key, entry);
  }

  return {
    get(key, now) {
      let entry = young.get(key);
      if (entry === undefined) {
        entry = old.get(key);
        if (entry === undefined) return undefined;
        old.delete(key);
        if (entry.expiresAt > now) put(key, entry);
      }
      if (entry.expiresAt > now) return entry.verdict;
      young.delete(key);
      return undefined;
    },
    set(key, verdict, expiresAt) {
      old.delete(key);
      put(key, { verdict, expiresAt });
    },
    delete(key) {
      young.delete(key);
      old.delete(key);
    },
    clear() {
      young.clear();
      old.clear();
    },
  };
}
