import { expect, test } from 'vitest';
import { BASE_ID, deterministicJobId, isUuid, shortHash, uuid1, uuid5 } from './identifiers.ts';

test('a client can compute the id of its job before it submits it', () => {
  expect(deterministicJobId('049df7ff9db873b6', 'abc')).toBe('2e40059e-4d1d-52ee-bc8d-4dbe558f615b');
});

test('vo ids and delegation ids are the ones that the original server gives', () => {
  expect(uuid5(BASE_ID, '049df7ff9db873b6')).toBe('5fcfc44d-f131-553b-9510-97bfeb2f346d');
  expect(shortHash('/DC=org/DC=dte/CN=Alice Test')).toBe('049df7ff9db873b6');
});

test('time-based ids are version 1 and differ within one millisecond', () => {
  const now = Date.parse('2026-01-02T03:04:05Z');
  const ids = new Set(Array.from({ length: 1000 }, () => uuid1(now)));
  expect(ids.size).toBe(1000);
  for (const id of ids) {
    expect(isUuid(id)).toBe(true);
    expect(id[14]).toBe('1');
  }
});
