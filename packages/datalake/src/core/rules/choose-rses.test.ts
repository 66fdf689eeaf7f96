import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Quota, UNLIMITED } from '../accounts/limits.ts';
import { chooseRses, type FileGroup } from './choose-rses.ts';

const group = (given: Partial<FileGroup> = {}): FileGroup => ({
  id: 1,
  bytes: 100,
  covered: new Map(),
  blocked: new Set(),
  chosen: [],
  ...given,
});
const candidates = (...names: string[]) => names.map((rseId) => ({ rseId, weight: 1 }));
const rsesOf = (placements: { rseId: string }[]) => placements.map(({ rseId }) => rseId);

test('the RSE that holds most of the data is chosen', () => {
  const covered = new Map([
    ['A', 10],
    ['B', 90],
  ]);
  expect(rsesOf(chooseRses([group({ covered })], candidates('A', 'B', 'C'), 1, UNLIMITED))).toEqual(['B']);
});

test('what the rule chose before stays', () => {
  const chosen = ['C'];
  const covered = new Map([['A', 100]]);
  expect(rsesOf(chooseRses([group({ chosen, covered })], candidates('A', 'B', 'C'), 2, UNLIMITED))).toEqual([
    'C',
    'A',
  ]);
});

test('fewer RSEs than copies', () => {
  expect(() => chooseRses([group()], candidates('A'), 2, UNLIMITED)).toThrow(
    /not sufficient for number of copies/,
  );
});

test('an RSE where a replica is being deleted is avoided', () => {
  expect(
    rsesOf(chooseRses([group({ blocked: new Set(['A']) })], candidates('A', 'B'), 1, UNLIMITED)),
  ).toEqual(['B']);
});

test('the quota shrinks from group to group', () => {
  let left = 250;
  const quota: Quota = {
    allows: (_rse, bytes) => left > bytes,
    take: (_rse, bytes) => {
      left -= bytes;
    },
  };
  const groups = [group({ id: 1 }), group({ id: 2 }), group({ id: 3 })];
  expect(() => chooseRses(groups, candidates('A'), 1, quota)).toThrow(/insufficient quota/);
  expect(left).toBe(50);
});

test('copies land on different RSEs that were candidates', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.constantFrom(...'ABCDEFGH'), { minLength: 1 }),
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 5 }),
      (names, wish, sizes) => {
        const copies = Math.min(wish, names.length);
        const groups = sizes.map((bytes, id) => group({ id, bytes }));
        const placements = chooseRses(groups, candidates(...names), copies, UNLIMITED);
        for (const { id } of groups) {
          const rses = rsesOf(placements.filter(({ groupId }) => groupId === id));
          expect(new Set(rses).size).toBe(copies);
          expect(rses.every((rse) => names.includes(rse))).toBe(true);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('a weight of nine against one wins about nine times in ten', () => {
  const weighted = [
    { rseId: 'A', weight: 9 },
    { rseId: 'B', weight: 1 },
  ];
  const groups = Array.from({ length: 4000 }, (_, id) => group({ id }));
  const share = rsesOf(chooseRses(groups, weighted, 1, UNLIMITED)).filter((rse) => rse === 'A').length / 4000;
  expect(share).toBeGreaterThan(0.87);
  expect(share).toBeLessThan(0.93);
});
