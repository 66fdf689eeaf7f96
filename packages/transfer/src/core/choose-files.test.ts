import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseFiles, type Limits, type QueuedFile, type Running } from './choose-files.ts';

const generous: Limits = { link: () => 100, inbound: () => 100, outbound: () => 100, share: () => 1 };

function file(fileId: number, changes: Partial<QueuedFile> = {}): QueuedFile {
  return {
    fileId,
    jobId: 'job',
    source: 'davs://a',
    destination: 'davs://b',
    destinationSurl: `davs://b/${fileId}`,
    vo: 'drought',
    activity: 'default',
    priority: 3,
    ...changes,
  };
}

const ids = (files: readonly QueuedFile[]) => files.map(({ fileId }) => fileId);

describe('what starts next', () => {
  test('a higher priority goes first, and of equals the older one', () => {
    expect(
      ids(chooseFiles([file(1), file(2, { priority: 5 }), file(3, { priority: 5 })], [], generous, 2)),
    ).toEqual([2, 3]);
  });

  test('an activity with one file does not wait behind one with thousands', () => {
    const bulk = Array.from({ length: 1000 }, (_, index) => file(index + 1, { activity: 'bulk' }));
    expect(ids(chooseFiles([...bulk, file(5000, { activity: 'express' })], [], generous, 4))).toEqual([
      1, 5000, 2, 3,
    ]);
  });

  test('shares divide the slots of a link, what already runs included', () => {
    const queue = [1, 2, 3, 4, 5, 6].flatMap((n) => [
      file(n, { activity: 'A' }),
      file(n + 100, { activity: 'B' }),
    ]);
    const limits = { ...generous, share: (_vo: string, activity: string) => (activity === 'A' ? 2 : 1) };
    expect(ids(chooseFiles(queue, [], limits, 6)).filter((id) => id < 100)).toHaveLength(4);
    const running = [
      { source: 'davs://a', destination: 'davs://b', vo: 'drought', activity: 'A', active: 4 },
    ];
    expect(ids(chooseFiles(queue, running, limits, 2))).toEqual([101, 102]);
  });

  test('links take turns', () => {
    const queue = [
      file(1),
      file(2),
      file(3),
      file(4, { destination: 'davs://c', destinationSurl: 'davs://c/4' }),
    ];
    expect(ids(chooseFiles(queue, [], generous, 2))).toEqual([1, 4]);
  });

  test('two files with one destination do not run at once', () => {
    const same = { destinationSurl: 'davs://b/same' };
    expect(ids(chooseFiles([file(1, same), file(2, same)], [], generous, 10))).toEqual([1]);
  });
});

test('no limit is ever exceeded, and no slot stays free that a file could take', () => {
  const storage = fc.constantFrom('davs://a', 'davs://b', 'davs://c');
  const lane = fc.record({
    source: storage,
    destination: storage,
    vo: fc.constantFrom('x', 'y'),
    activity: fc.constantFrom('p', 'q'),
  });
  fc.assert(
    fc.property(
      fc.array(fc.record({ lane, priority: fc.integer({ min: 1, max: 5 }) }), { maxLength: 40 }),
      fc.array(fc.record({ lane, active: fc.integer({ min: 0, max: 3 }) }), { maxLength: 5 }),
      fc.record({
        link: fc.integer({ min: 1, max: 4 }),
        se: fc.integer({ min: 1, max: 6 }),
        slots: fc.integer({ min: 0, max: 20 }),
      }),
      (entries, runningEntries, { link, se, slots }) => {
        const queued = entries.map((entry, index) =>
          file(index + 1, {
            ...entry.lane,
            priority: entry.priority,
            destinationSurl: `${entry.lane.destination}/${index}`,
          }),
        );
        const running: Running[] = runningEntries.map((entry) => ({ ...entry.lane, active: entry.active }));
        const limits: Limits = { link: () => link, inbound: () => se, outbound: () => se, share: () => 1 };
        const chosen = chooseFiles(queued, running, limits, slots);
        expect(chosen.length).toBeLessThanOrEqual(slots);
        expect(new Set(ids(chosen)).size).toBe(chosen.length);

        const before = (test: (of: Running) => boolean) =>
          running.filter(test).reduce((sum, { active }) => sum + active, 0);
        const fits = (candidate: QueuedFile, extra: number) => {
          const { source, destination } = candidate;
          const sameLink = chosen.filter(
            (one) => one.source === source && one.destination === destination,
          ).length;
          const out = chosen.filter((one) => one.source === source).length;
          const into = chosen.filter((one) => one.destination === destination).length;
          return (
            before((of) => of.source === source && of.destination === destination) + sameLink + extra <=
              link &&
            before((of) => of.source === source) + out + extra <= se &&
            before((of) => of.destination === destination) + into + extra <= se
          );
        };
        for (const one of chosen) expect(fits(one, 0)).toBe(true);
        if (chosen.length < slots)
          for (const one of queued.filter((candidate) => !chosen.includes(candidate)))
            expect(fits(one, 1)).toBe(false);
      },
    ),
    { numRuns: 300 },
  );
});
