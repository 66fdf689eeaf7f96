import { describe, expect, it } from 'vitest';
import { createTokenCache } from './token-cache.ts';

describe('the cache of verdicts', () => {
  it('never holds more than its capacity, and keeps what is asked for', () => {
    const cache = createTokenCache<number>(100);
    cache.set('wanted', -1, 10);
    for (let index = 0; index < 1000; index += 1) {
      cache.set(`token-${index}`, index, 10);
      expect(cache.get('wanted', 0)).toBe(-1);
    }
    const held = Array.from({ length: 1000 }, (_, index) => cache.get(`token-${index}`, 0)).filter(
      (found) => found !== undefined,
    );
    expect(held.length).toBeLessThanOrEqual(100);
    expect(held.length).toBeGreaterThanOrEqual(50 - 1);
    expect(held.at(-1)).toBe(999);
  });

  it('forgets at the time it was told, in either half', () => {
    const cache = createTokenCache<string>(4);
    cache.set('a', 'first', 10);
    expect(cache.get('a', 9)).toBe('first');
    expect(cache.get('a', 10)).toBeUndefined();
    cache.set('a', 'first', 10);
    for (const key of ['b', 'c']) cache.set(key, key, 100);
    expect(cache.get('a', 10)).toBeUndefined();
    cache.set('b', 'again', 100);
    expect(cache.get('b', 50)).toBe('again');
    cache.delete('b');
    expect(cache.get('b', 50)).toBeUndefined();
  });
});
