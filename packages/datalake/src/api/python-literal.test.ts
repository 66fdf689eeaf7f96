import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parsePythonLiteral } from './python-literal.ts';

test.each([
  [
    `[{'name': 'run7*', 'run_number.gte': 3}, {'datatype': 'AOD'}]`,
    [{ name: 'run7*', 'run_number.gte': 3 }, { datatype: 'AOD' }],
  ],
  [`{"it's": True, 'n': None, 'x': -1.5e3}`, { "it's": true, n: null, x: -1500 }],
  [`('a', "b\\'c", '\\x41\\u00e9')`, ['a', "b'c", 'Aé']],
  [`[]`, []],
  [`[1, 2, ]`, [1, 2]],
])('%s', (text, expected) => {
  expect(parsePythonLiteral(text)).toEqual(expected);
});

test.each([
  '',
  'junk',
  "__import__('os')",
  "{'a': __class__}",
  "['a'",
  '{1: 2}',
  "'\\q'",
  '['.repeat(50),
  '[1 2]',
])('refuses %s', (text) => {
  expect(() => parsePythonLiteral(text)).toThrow(/can not be read/);
});

test('reads all JSON', () => {
  const values = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      tie('list'),
      tie('object'),
    ),
    list: fc.array(tie('value'), { maxLength: 4 }),
    object: fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 4, noNullPrototype: true },
    ),
  })).value;
  fc.assert(
    fc.property(values, (value) => {
      expect(parsePythonLiteral(JSON.stringify(value))).toEqual(value);
    }),
    { numRuns: 300 },
  );
});
