import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matchesRse, parseRseExpression, type RseExpression, selectRses } from './rse-expression.ts';

const rse = (name: string, attributes: Record<string, string> = {}) => ({
  name,
  attributes: new Map([[name, 'true'], ...Object.entries(attributes)]),
});
const federation = [
  rse('SITE-A', { tier: '1', country: 'DE', freespace: '50' }),
  rse('SITE-B', { tier: '2', country: 'DE', freespace: '250.5', istape: 'True' }),
  rse('SITE-C', { tier: '2', country: 'FR', freespace: 'much' }),
];
const names = (expression: string) => selectRses(expression, federation).map(({ name }) => name);

describe('RSE expressions', () => {
  test.each([
    ['*', ['SITE-A', 'SITE-B', 'SITE-C']],
    ['SITE-A', ['SITE-A']],
    ['SITE-A|SITE-C', ['SITE-A', 'SITE-C']],
    ['tier=2&country=DE', ['SITE-B']],
    ['*\\istape=true', ['SITE-A', 'SITE-C']],
    ['freespace>100', ['SITE-B']],
    ['freespace<100', ['SITE-A']],
    ['(tier=1|tier=2)\\SITE-B', ['SITE-A', 'SITE-C']],
    ['country="FR"', ['SITE-C']],
  ])('%s', (expression, expected) => {
    expect(names(expression)).toEqual(expected);
  });

  test('go strictly from left to right: A|B&C is (A∪B)∩C', () => {
    expect(names('SITE-A|SITE-B&country=DE')).toEqual(['SITE-A', 'SITE-B']);
    expect(names('SITE-A|(SITE-B&country=FR)')).toEqual(['SITE-A']);
  });

  test.each([
    '',
    'SITE A',
    'MOCK*',
    'tier=',
    '=2',
    'tier==2',
    '(SITE-A',
    'SITE-A)',
    'A||B',
    'A|',
    'x;drop',
    '-A',
    '('.repeat(2000),
  ])('refuses %s', (expression) => {
    expect(() => parseRseExpression(expression)).toThrow(/does not comply to RSE Expression syntax/);
  });

  test('an empty set is an error of its own', () => {
    expect(() => names('tier=9')).toThrow('RSE Expression resulted in an empty set.');
  });

  test('printing and parsing again gives the same expression', () => {
    fc.assert(
      fc.property(expressions(3), (expression) => {
        expect(parseRseExpression(print(expression))).toEqual(expression);
      }),
      { numRuns: 300 },
    );
  });

  test('every text either parses or is refused as InvalidRSEExpression', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'AB1-_=<>|&\\()*" .'), maxLength: 40 }), (text) => {
        try {
          parseRseExpression(text);
        } catch (error) {
          expect(error).toMatchObject({ code: 'InvalidRSEExpression' });
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('union, intersection and difference are those of sets', () => {
    fc.assert(
      fc.property(expressions(2), expressions(2), (left, right) => {
        for (const subject of federation) {
          const combined = (operator: '|' | '&' | '\\') =>
            matchesRse({ kind: 'combine', operator, left, right }, subject);
          const [l, r] = [matchesRse(left, subject), matchesRse(right, subject)];
          expect([combined('|'), combined('&'), combined('\\')]).toEqual([l || r, l && r, l && !r]);
        }
      }),
      { numRuns: 200 },
    );
  });
});

function expressions(depth: number): fc.Arbitrary<RseExpression> {
  const leaf: fc.Arbitrary<RseExpression> = fc.oneof(
    fc.constant<RseExpression>({ kind: 'all' }),
    fc.constantFrom('SITE-A', 'SITE-B', 'MOCK_2').map((name): RseExpression => ({ kind: 'name', name })),
    fc
      .record({
        key: fc.constantFrom('tier', 'country', 'free.space'),
        operator: fc.constantFrom('=' as const, '<' as const, '>' as const),
        value: fc.constantFrom('1', '2', 'DE'),
      })
      .map((parts): RseExpression => ({ kind: 'compare', ...parts })),
  );
  if (depth === 0) return leaf;
  const inner = expressions(depth - 1);
  return fc.oneof(
    leaf,
    fc
      .record({
        operator: fc.constantFrom('|' as const, '&' as const, '\\' as const),
        left: inner,
        right: inner,
      })
      .map((parts): RseExpression => ({ kind: 'combine', ...parts })),
  );
}

function print(expression: RseExpression): string {
  switch (expression.kind) {
    case 'all':
      return '*';
    case 'name':
      return expression.name;
    case 'compare':
      return expression.key + expression.operator + expression.value;
    case 'combine':
      return `(${print(expression.left)})${expression.operator}(${print(expression.right)})`;
  }
}
