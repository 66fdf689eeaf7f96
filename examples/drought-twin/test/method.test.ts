import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  assess,
  climateOf,
  fitGamma,
  gammaP,
  hindcastDivision,
  levelOf,
  logGamma,
  monthIndex,
  monthText,
  normalQuantile,
  PAIRS,
  readObservations,
  type Scores,
  scoresOf,
  spiOf,
  verifyForecasts,
  warningTable,
} from '../payload/drought.mjs';

const table = readFileSync(new URL('../data/climdiv-pcpn.csv', import.meta.url), 'utf8');
const observations = readObservations([{ name: 'climdiv-pcpn.csv', text: table }]);

function climate(code: string) {
  const totals = observations.totals[observations.codes.indexOf(code)];
  if (totals === undefined) throw new Error(`no division ${code}`);
  return climateOf(totals);
}

function month(text: string): number {
  const index = monthIndex(text);
  if (index === undefined) throw new Error(`no month ${text}`);
  return index;
}

describe('special functions agree with tabulated values', () => {
  test('ln Γ: Γ(1/2)² = π, Γ(5) = 24', () => {
    expect(Math.exp(2 * logGamma(0.5))).toBeCloseTo(Math.PI, 12);
    expect(Math.exp(logGamma(5))).toBeCloseTo(24, 11);
  });

  test('P(a, x): closed forms for a = 1 and 2, both branches', () => {
    expect(gammaP(2, 2)).toBeCloseTo(0.5939941503, 10);
    for (const x of [0.01, 0.5, 1.9, 2.1, 7, 40]) {
      expect(gammaP(1, x)).toBeCloseTo(1 - Math.exp(-x), 13);
      expect(gammaP(2, x)).toBeCloseTo(1 - (1 + x) * Math.exp(-x), 13);
    }
    expect(gammaP(3, 0)).toBe(0);
  });

  test('Φ⁻¹ in its three regions, and at the ends', () => {
    expect(normalQuantile(0.5)).toBe(0);
    expect(normalQuantile(0.75)).toBeCloseTo(0.6744897501960817, 14);
    expect(normalQuantile(0.001)).toBeCloseTo(-3.090232306167813, 12);
    expect(normalQuantile(1e-20)).toBeCloseTo(-9.26234008979841, 12);
    expect(normalQuantile(0)).toBe(-Infinity);
    expect(normalQuantile(1)).toBe(Infinity);
  });

  test('Φ⁻¹ inverts Φ, which is made of P(1/2, x²/2)', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.01, max: 5, noNaN: true }), (x) => {
        const upper = 0.5 + gammaP(0.5, (x * x) / 2) / 2;
        expect(normalQuantile(upper)).toBeCloseTo(x, 8);
      }),
    );
  });
});

describe('the index', () => {
  test.each([
    { code: '4105', scale: 6, calendarMonth: 11, alpha: 7.611787, beta: 1.05754, p0: 0, n: 86 },
    { code: '4105', scale: 1, calendarMonth: 2, alpha: 0.875648, beta: 0.427773, p0: 0.034483, n: 86 },
  ])('fit of $code, $scale months', ({ code, scale, calendarMonth, alpha, beta, p0, n }) => {
    const fit = fitGamma(climate(code).totals, scale, calendarMonth);
    expect(fit.alpha).toBeCloseTo(alpha, 5);
    expect(fit.beta).toBeCloseTo(beta, 5);
    expect(fit.p0).toBeCloseTo(p0, 5);
    expect(fit.n).toBe(n);
  });

  test('an accumulation that reaches before the record does not count', () => {
    expect(fitGamma(climate('4105').totals, 12, 8).n).toBe(85);
  });

  test.each([
    ['4101', 12, '2011-09', -3.09],
    ['4105', 12, '2011-09', -3.09],
    ['0405', 12, '2014-01', -3.09],
    ['1106', 3, '2012-07', -2.6078],
    ['1306', 3, '2012-07', -2.5663],
    ['3407', 12, '1956-10', -2.1108],
    ['2001', 6, '1988-06', -2.1402],
  ] as const)('known drought: %s, SPI-%i in %s', (code, scale, when, expected) => {
    expect(climate(code).spi(scale, month(when))).toBeCloseTo(expected, 3);
  });

  test.each([
    ['1931-06', 0.651],
    ['1934-05', 0.625],
    ['1934-08', 0.605],
    ['1954-07', 0.517],
  ])('share of divisions in drought in %s', (when, share) => {
    const dry = observations.totals.filter((totals) => (climateOf(totals).spi(12, month(when)) ?? 0) <= -1);
    expect(dry.length / observations.codes.length).toBeCloseTo(share, 3);
  });

  test('does not depend on the unit of the totals', () => {
    const { totals } = climate('4105');
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 1000 }), fc.integer({ min: 12, max: 1490 }), (factor, when) => {
        const scaled = Array.from(totals, (total) => total * factor);
        const [one, other] = [climateOf(totals).spi(3, when), climateOf(scaled).spi(3, when)];
        expect(Math.abs((one ?? 0) - (other ?? 0))).toBeLessThan(1e-9);
      }),
      { numRuns: 50 },
    );
  });

  test('rises with the total; no rain at all is as likely as its share of the record says', () => {
    const fit = fitGamma(climate('4105').totals, 1, 2);
    expect(fit.zeros).toBe(3);
    expect(spiOf(fit, 0)).toBeCloseTo(normalQuantile(4 / 174), 12);
    fc.assert(
      fc.property(fc.nat(3000), fc.integer({ min: 1, max: 500 }), (total, more) => {
        expect(spiOf(fit, total + more)).toBeGreaterThanOrEqual(spiOf(fit, total));
      }),
    );
  });
});

/** What the twin says about all divisions, from the months up to `issue` alone. */
function issueWarnings(issue: string) {
  return observations.codes.map((code) => ({ code, name: code, ...assess(climate(code), month(issue)) }));
}

describe('the outlook', () => {
  test.each([
    ['2010-11', 5, 3, 2, 0.543, 0.4942, -0.993],
    ['2010-12', 18, 3, 2, 0.399, 0.7184, -1.743],
    ['2011-01', 7, 9, 0, -1.023, 0.6149, -1.251],
    ['2011-02', 6, 20, 5, -1.822, 0.477, -0.96],
    ['2011-03', 3, 5, 3, -3.09, 0.3506, -0.544],
    ['2011-04', 0, 10, 6, -3.09, 0.3161, -0.677],
  ])('Texas 2011, seen from %s', (issue, watch, warning, severe, spi6, p, median) => {
    const warnings = issueWarnings(issue);
    const count = (level: string) => warnings.filter((each) => each.level === level).length;
    expect([count('watch'), count('warning'), count('severe')]).toEqual([watch, warning, severe]);
    const transPecos = warnings.find(({ code }) => code === '4105');
    expect(transPecos?.spi[6]).toBeCloseTo(spi6, 3);
    expect(transPecos?.outlooks[2]?.p).toBeCloseTo(p, 4);
    expect(transPecos?.outlooks[2]?.median).toBeCloseTo(median, 3);
  });

  test('levels: from one half on, by how dry it is already', () => {
    expect([levelOf(-3, 0.49), levelOf(0, 0.5), levelOf(-1, 0.5), levelOf(-2, 0.5)]).toEqual([
      'none',
      'watch',
      'warning',
      'severe',
    ]);
  });

  test('of the 23 divisions warned in 2010-12, 19 verified in 2011-03', () => {
    const earlier = [{ name: 'drought-2010-12.csv', text: warningTable(issueWarnings('2010-12')) }];
    const now = new Map(
      observations.codes.map((code) => [code, climate(code).spi(6, month('2011-03')) ?? 0]),
    );
    const [lead] = verifyForecasts(month('2011-03'), now, earlier).leads;
    expect(lead).toMatchObject({ lead: 3, issued: '2010-12', n: 344, hits: 19, false_alarms: 4 });
    expect(lead?.brier).toBeCloseTo(0.09804, 5);
    expect(lead?.reference).toBeCloseTo(0.16211, 5);
  });

  test('months have numbers, not dates', () => {
    expect([monthText(0), monthText(1391), monthText(-1)]).toEqual(['1895-01', '2010-12', '1894-12']);
    fc.assert(fc.property(fc.nat(3000), (index) => monthIndex(monthText(index)) === index));
    expect(monthIndex('2010-13')).toBeUndefined();
  });
});

function hindcast(divisions: readonly Int32Array[]) {
  return PAIRS.map((pair) => {
    const histogram = new Map<string, { cases: number; events: number }>();
    for (const totals of divisions) hindcastDivision(totals, pair, histogram);
    const rows = [...histogram].map(([key, { cases, events }]) => {
      const [members = 0, count = 0] = key.split(':').map(Number);
      return [members, count, cases, events] as const;
    });
    return scoresOf(rows);
  });
}

test('skill over 1981 to 2019, which calibration has not seen', () => {
  const scores = hindcast(observations.totals);
  const rounded = scores.map((each: Scores, i) => [
    ...(PAIRS[i] ?? []),
    each.n,
    each.baseRate.toFixed(4),
    each.brier.toFixed(5),
    each.skill.toFixed(4),
    each.auc.toFixed(4),
  ]);
  expect(rounded).toEqual([
    [3, 1, 157896, '0.1322', '0.06608', '0.4277', '0.9371'],
    [3, 2, 157896, '0.1322', '0.09492', '0.1778', '0.8270'],
    [6, 1, 157896, '0.1243', '0.04379', '0.6019', '0.9727'],
    [6, 2, 157896, '0.1243', '0.06335', '0.4242', '0.9361'],
    [6, 3, 157896, '0.1243', '0.07945', '0.2778', '0.8851'],
    [12, 1, 157896, '0.1131', '0.02623', '0.7438', '0.9893'],
    [12, 3, 157896, '0.1131', '0.04950', '0.5165', '0.9576'],
    [12, 6, 157896, '0.1131', '0.07233', '0.2936', '0.8905'],
  ]);
});
