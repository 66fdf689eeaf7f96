import { describe, expect, it } from 'vitest';
import { violation } from './constraints.ts';

const holds = (
  type: string,
  value: Parameters<typeof violation>[1],
  operator: string,
  operand: Parameters<typeof violation>[1],
) => violation(type, value, { operator, operand }) === undefined;

describe('constraints', () => {
  it('compare sizes by their bytes, not by their text', () => {
    expect(holds('scalar-unit.size', '2048 MiB', 'valid_values', ['1 GiB', '2 GiB'])).toBe(true);
    expect(holds('scalar-unit.size', '10 GB', 'greater_than', '9 GB')).toBe(true);
  });

  it('know open ranges', () => {
    expect(holds('integer', 5, 'in_range', [1, 'UNBOUNDED'])).toBe(true);
    expect(holds('integer', 0, 'in_range', [1, 'UNBOUNDED'])).toBe(false);
  });

  it('match the whole text', () => {
    expect(holds('string', '2010-12', 'pattern', '\\d{4}-\\d{2}')).toBe(true);
    expect(holds('string', '2010-12x', 'pattern', '\\d{4}-\\d{2}')).toBe(false);
  });

  it('stop a pattern that backtracks without end', () => {
    const start = performance.now();
    expect(holds('string', `${'a'.repeat(50)}!`, 'pattern', '(a+)+b')).toBe(false);
    expect(performance.now() - start).toBeLessThan(30_000);
  });

  it('say what is wrong', () => {
    expect(violation('integer', 3, { operator: 'valid_values', operand: [1, 2, 4] })).toBe(
      'must be one of [1,2,4]',
    );
  });
});
