import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeBytes, judge, type Observation } from './placement.ts';

const weights = { sla: 1, capacity: 1, data: 1 };
const nobodyBarred = { unsupported: [], barred: new Map<string, string>() };

function site(provider: string, changes: Partial<Observation> = {}): Observation {
  return {
    provider,
    rse: `${provider.toUpperCase()}-DISK`,
    sla: { id: 'default', weight: 1 },
    site: { drained: false, slots: 2, running: 0, queued: 0 },
    data: { totalBytes: 10, missingBytes: 0, missingFiles: 0, lostFiles: 0, stagingSeconds: 0 },
    ...changes,
  };
}

const order = (observations: Observation[]) =>
  judge(observations, nobodyBarred, weights)
    .filter(({ ranked }) => ranked)
    .map(({ provider }) => provider);

describe('judge', () => {
  it('prefers the site where the data lie', () => {
    const far = { totalBytes: 1e9, missingBytes: 1e9, missingFiles: 3, lostFiles: 0, stagingSeconds: 20 };
    expect(order([site('far', { data: far }), site('near')])).toEqual(['near', 'far']);
  });

  it('prefers free slots to a short queue, and that to a long one', () => {
    const at = (running: number, queued: number) => ({ site: { drained: false, slots: 2, running, queued } });
    expect(order([site('long', at(2, 9)), site('short', at(2, 1)), site('free', at(1, 0))])).toEqual([
      'free',
      'short',
      'long',
    ]);
  });

  it('keeps the order of the configuration among equals', () => {
    expect(order([site('b'), site('a')])).toEqual(['b', 'a']);
  });

  it.each([
    ['drained', { site: { drained: true, slots: 2, running: 0, queued: 0 } }, 'x drained'],
    ['unreachable', { site: { unreachable: 'refused' } }, 'x unreachable: refused'],
    ['without agreement', { sla: undefined }, 'no agreement (SLA) with the group'],
    ['without slots', { site: { drained: false, slots: 0, running: 0, queued: 0 } }, 'no slots'],
    ['without storage', { rse: undefined }, 'has no storage (RSE) for the data'],
    [
      'for which files are lost',
      { data: { totalBytes: 1, missingBytes: 1, missingFiles: 1, lostFiles: 1, stagingSeconds: 0 } },
      '1 input files have no replica anywhere',
    ],
  ] as const)('does not use a site %s, and says so', (_what, changes, reason) => {
    const [judgement] = judge([site('x', changes)], nobodyBarred, weights);
    expect(judgement).toMatchObject({ ranked: false, rank: null, score: 0, reasons: [reason] });
  });

  it('uses an original interLink whose slots are not known', () => {
    const original = site('x', { site: { drained: false, slots: undefined, running: 0, queued: 0 } });
    expect(judge([original], nobodyBarred, weights)[0]).toMatchObject({ rank: 1, slots: null });
  });

  it('ranks every usable site exactly once, by falling score', () => {
    const observation = fc.record({
      drained: fc.boolean(),
      slots: fc.nat(8),
      running: fc.nat(8),
      queued: fc.nat(100),
      stagingSeconds: fc.float({ min: 0, max: 1e6, noNaN: true }),
      weight: fc.float({ min: Math.fround(0.1), max: 10, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(observation, { maxLength: 12 }), (sites) => {
        const observations = sites.map(({ stagingSeconds, weight, ...state }, index) =>
          site(`s${index}`, {
            site: state,
            sla: { id: 'x', weight },
            data: { totalBytes: 1, missingBytes: 1, missingFiles: 1, lostFiles: 0, stagingSeconds },
          }),
        );
        const judgements = judge(observations, nobodyBarred, weights);
        const ranked = judgements.filter((judgement) => judgement.ranked);
        expect(judgements).toHaveLength(sites.length);
        expect(ranked.map(({ rank }) => rank)).toEqual(ranked.map((_judgement, index) => index + 1));
        expect(ranked.every(({ score }, index) => score <= (ranked[index - 1]?.score ?? Infinity))).toBe(
          true,
        );
        expect(ranked).toHaveLength(sites.filter(({ drained, slots }) => !drained && slots > 0).length);
        for (const { score } of ranked) expect(score).toBeGreaterThan(0);
      }),
      { numRuns: 200 },
    );
  });
});

it('describeBytes counts in powers of a thousand', () => {
  expect([0, 999, 2_025_836, 1e15].map(describeBytes)).toEqual(['0 B', '999 B', '2.0 MB', '1.0 PB']);
});
