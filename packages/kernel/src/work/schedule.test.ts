import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nextTime } from './schedule.ts';

test('an interval keeps its step, also when times have passed', () => {
  const step = fc.integer({ min: 1, max: 100_000 });
  fc.assert(
    fc.property(step, fc.nat(10_000_000), (everySeconds, lateSeconds) => {
      const previous = new Date('2026-01-01T00:00:00Z');
      const now = new Date(previous.getTime() + lateSeconds * 1_000);
      const next = nextTime({ everySeconds }, now, previous);
      expect(next.getTime()).toBeGreaterThan(now.getTime());
      expect(next.getTime() - now.getTime()).toBeLessThanOrEqual(everySeconds * 1_000);
      expect((next.getTime() - previous.getTime()) % (everySeconds * 1_000)).toBe(0);
    }),
  );
});

test('a cron pattern is due in its time zone, also across the change of the clocks', () => {
  const rule = { cron: '30 3 * * *', timeZone: 'Europe/Berlin' };
  expect(nextTime(rule, new Date('2026-03-28T02:30:00Z'))).toEqual(new Date('2026-03-29T01:30:00Z'));
  expect(nextTime({ cron: '0 0 1 1 *' }, new Date('2026-06-01T00:00:00Z'))).toEqual(
    new Date('2027-01-01T00:00:00Z'),
  );
});

test('a rule that is never due is refused at once', () => {
  const now = new Date();
  expect(() => nextTime({ everySeconds: 0 }, now)).toThrow(RangeError);
  expect(() => nextTime({ everySeconds: Number.NaN }, now)).toThrow(RangeError);
  expect(() => nextTime({ cron: 'every day' }, now)).toThrow(/not a cron pattern/);
  expect(() => nextTime({ cron: '0 0 31 2 *' }, now)).toThrow(/never due/);
});
