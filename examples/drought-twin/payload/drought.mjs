#!/usr/bin/env node
// Drought early warning for the 344 climate divisions of the contiguous USA.
//
//   drought update   --in DIR --out DIR --issue YYYY-MM|latest [--previous DIR]
//   drought hindcast --in DIR --out DIR --divisions A:B
//   drought merge    --in DIR --out DIR
//
// One file without dependencies, for Node 22 and newer: it runs alike by hand, under a batch system and in a container.
// Results depend on the inputs alone; the clock, the host and the job stand in run.json and nowhere else.
//
// --in holds monthly totals as `*.csv` (`month,0101,…,4810`, then `1895-01,737,811,…` in hundredths of an inch), yearly or
// monthly or in any other portions, and `divisions.topojson` with names and outlines (absent: no map, codes for names).
// Exit codes are those of sysexits.h: 64 usage, 65 unusable data, 66 no input, 74 I/O; 143 after SIGTERM.
//
// Method: Standardised Precipitation Index (McKee, Doesken and Kleist 1993; WMO-No. 1090), zeros after Stagge et al. 2015;
// forecast by persistence and resampled climatology, the baseline of Lyon et al. 2012.

import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const FIRST_YEAR = 1895;
/** Last month of the calibration period, 1980-12, as an index from 1895-01. */
const CALIBRATION_END = 1031;
/** Verification uses targets 1981-01 to 2019-03, which calibration never sees. */
const FIRST_TARGET = CALIBRATION_END + 1;
const LAST_TARGET = 1490;

export const SCALES = [1, 3, 6, 12];
/** Pairs of accumulation (months) and lead (months) that the hindcast scores. */
export const PAIRS = [
  [3, 1],
  [3, 2],
  [6, 1],
  [6, 2],
  [6, 3],
  [12, 1],
  [12, 3],
  [12, 6],
];
/** The operational forecast: SPI-6, one to three months ahead. */
const OUTLOOK_SCALE = 6;
const OUTLOOK_LEADS = [1, 2, 3];

const SPI_LIMIT = 3.09;
/** A drought is SPI ≤ −1. */
const DROUGHT = -1;
/** Φ(−1): what somebody who knows only the climate would say. */
const CLIMATE_PROBABILITY = 0.15865525393145707;

/** A failure with the exit code that the caller's script will see. */
export class PayloadError extends Error {
  constructor(exitCode, message) {
    super(message);
    this.exitCode = exitCode;
  }
}
const usage = (message) => new PayloadError(64, message);
const badData = (message) => new PayloadError(65, message);
const noInput = (message) => new PayloadError(66, message);

// ------------------------------------------------------------------------------------------------------------------
// Special functions

const LANCZOS = [
  0.9999999999998099, 676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406,
  12.507343278686905, -0.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7,
];

/** ln Γ(x) for x > 0, by Lanczos' series (g = 7, nine terms): about 1e-14. */
export function logGamma(x) {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  let sum = LANCZOS[0];
  for (let i = 1; i < LANCZOS.length; i++) sum += LANCZOS[i] / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** Regularised lower incomplete gamma function P(a, x): the series below a + 1, Lentz' continued fraction above. */
export function gammaP(a, x) {
  if (x <= 0) return 0;
  const front = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let n = a + 1; term > sum * 1e-17; n++) {
      term *= x / n;
      sum += term;
    }
    return Math.min(1, front * sum);
  }
  let b = x + 1 - a;
  let c = 1e300;
  let d = 1 / b;
  let fraction = d;
  for (let n = 1; n < 10000; n++) {
    const an = -n * (n - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 2.3e-16) break;
  }
  return 1 - front * fraction;
}

const polynomial = (coefficients, x) =>
  coefficients.reduceRight((sum, coefficient) => sum * x + coefficient, 0);

// Coefficients of AS 241 (Wichura 1988), routine PPND16: about 1e-16.
const CENTRE_A = [
  3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987,
  67265.7709270087, 33430.57558358813, 2509.0809287301227,
];
const CENTRE_B = [
  1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
  28729.085735721943, 5226.495278852854,
];
const MIDDLE_C = [
  1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
  0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
];
const MIDDLE_D = [
  1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
  0.0005475938084995344, 1.0507500716444169e-9,
];
const TAIL_E = [
  6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
  0.0012426609473880784, 2.7115555687434876e-5, 2.0103343992922881e-7,
];
const TAIL_F = [
  1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133,
  1.8463183175100548e-5, 1.421511758316446e-7, 2.0442631033899397e-15,
];

/** Φ⁻¹(p), the quantile of the normal distribution; infinite at 0 and 1. */
export function normalQuantile(p) {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * polynomial(CENTRE_A, r)) / polynomial(CENTRE_B, r);
  }
  const tail = Math.min(p, 1 - p);
  if (tail <= 0) return q < 0 ? -Infinity : Infinity;
  const r = Math.sqrt(-Math.log(tail));
  const size =
    r <= 5
      ? polynomial(MIDDLE_C, r - 1.6) / polynomial(MIDDLE_D, r - 1.6)
      : polynomial(TAIL_E, r - 5) / polynomial(TAIL_F, r - 5);
  return q < 0 ? -size : size;
}

// ------------------------------------------------------------------------------------------------------------------
// Months: numbers counted from 1895-01 = 0; texts are YYYY-MM. Never a Date, which would bring a time zone.

export function monthIndex(text) {
  const match = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(text);
  return match === null ? undefined : (Number(match[1]) - FIRST_YEAR) * 12 + Number(match[2]) - 1;
}

export function monthText(index) {
  return `${FIRST_YEAR + Math.floor(index / 12)}-${String((((index % 12) + 12) % 12) + 1).padStart(2, '0')}`;
}

const MONTH_NAMES =
  'January February March April May June July August September October November December'.split(' ');
const monthInWords = (index) => `${MONTH_NAMES[index % 12]} ${FIRST_YEAR + Math.floor(index / 12)}`;

// ------------------------------------------------------------------------------------------------------------------
// Observations

/** Puts files `{ name, text }` together; `totals[d][t]` are hundredths of an inch. Throws with the file and the month. */
export function readObservations(files) {
  let header;
  const months = new Map();
  for (const { name, text } of files) {
    if (!text.endsWith('\n')) throw badData(`${name}: truncated, the last line has no end`);
    const [first, ...lines] = text
      .slice(0, -1)
      .replace(/^\uFEFF/, '')
      .split('\n')
      .map((line) => line.replace(/\r$/, ''));
    if (!/^month(,\d{4})+$/.test(first)) throw badData(`${name}: the first line is not "month,0101,0102,…"`);
    header ??= { name, first };
    if (first !== header.first) throw badData(`${name}: its columns differ from those of ${header.name}`);
    const columns = first.split(',').length;
    for (const line of lines) {
      const cells = line.split(',');
      const index = monthIndex(cells[0]);
      if (index === undefined || index < 0)
        throw badData(`${name}: "${cells[0].slice(0, 20)}" is not a month since ${FIRST_YEAR}-01`);
      if (cells.length !== columns)
        throw badData(`${name}: month ${cells[0]} has ${cells.length - 1} values, not ${columns - 1}`);
      const wrong = cells.findIndex((cell, i) => i > 0 && !/^\d{1,6}$/.test(cell));
      if (wrong > 0)
        throw badData(
          `${name}: month ${cells[0]}: value ${wrong} is not a whole number of hundredths of an inch`,
        );
      const known = months.get(index);
      if (known !== undefined && known.line !== line)
        throw badData(`${name}: month ${cells[0]} differs from ${known.name}`);
      if (known === undefined) months.set(index, { name, line, cells });
    }
  }
  if (header === undefined) throw noInput('no observations: no *.csv among the inputs');
  const codes = header.first.split(',').slice(1);
  if (new Set(codes).size !== codes.length) throw badData(`${header.name}: a division stands in two columns`);
  const last = Math.max(-1, ...months.keys());
  const totals = codes.map(() => new Int32Array(last + 1));
  for (let t = 0; t <= last; t++) {
    const month = months.get(t);
    if (month === undefined) throw badData(`gap: month ${monthText(t)} is in no file`);
    for (let d = 0; d < codes.length; d++) totals[d][t] = Number(month.cells[d + 1]);
  }
  if (last < CALIBRATION_END)
    throw badData(`observations end with ${monthText(last)}; calibration needs them to 1980-12`);
  return { codes, totals, last };
}

// ------------------------------------------------------------------------------------------------------------------
// Standardised Precipitation Index

/** Sum of the `scale` months that end with `month`; undefined where the record does not reach back far enough. */
function accumulate(totals, scale, month) {
  if (month - scale + 1 < 0) return undefined;
  let sum = 0;
  for (let t = month - scale + 1; t <= month; t++) sum += totals[t];
  return sum;
}

/**
 * Distribution of the `scale`-month totals that end in one calendar month (0 January), from the complete accumulations up to
 * 1980-12: gamma by Thom's approximation to maximum likelihood, over the non-zero totals, in inches.
 */
export function fitGamma(totals, scale, calendarMonth) {
  let n = 0;
  let positive = 0;
  let sum = 0;
  let sumOfLogs = 0;
  for (let t = calendarMonth; t <= CALIBRATION_END; t += 12) {
    const hundredths = accumulate(totals, scale, t);
    if (hundredths === undefined) continue;
    n++;
    if (hundredths === 0) continue;
    positive++;
    sum += hundredths / 100;
    sumOfLogs += Math.log(hundredths / 100);
  }
  const zeros = n - positive;
  const mean = sum / positive;
  const a = Math.log(mean) - sumOfLogs / positive;
  const alpha = (1 + Math.sqrt(1 + (4 * a) / 3)) / (4 * a);
  return { n, zeros, p0: zeros / (n + 1), alpha, beta: mean / alpha };
}

/** SPI of a total (hundredths of an inch) under a fit, clipped to ±3.09. */
export function spiOf(fit, hundredths) {
  const h =
    hundredths > 0
      ? fit.p0 + (1 - fit.p0) * gammaP(fit.alpha, hundredths / 100 / fit.beta)
      : (fit.zeros + 1) / (2 * (fit.n + 1));
  return Math.max(-SPI_LIMIT, Math.min(SPI_LIMIT, normalQuantile(h)));
}

/** A division's climate: fits are made when first asked for. */
export function climateOf(totals) {
  const fits = new Map();
  const fit = (scale, month) => {
    const key = scale * 12 + (month % 12);
    let known = fits.get(key);
    if (known === undefined) {
      known = fitGamma(totals, scale, month % 12);
      fits.set(key, known);
    }
    return known;
  };
  const spi = (scale, month) => {
    const total = accumulate(totals, scale, month);
    return total === undefined ? undefined : spiOf(fit(scale, month), total);
  };
  return { totals, fit, spi };
}

// ------------------------------------------------------------------------------------------------------------------
// Forecast

/**
 * What fell in the `lead` months after the issue's calendar month, in every year of the calibration period. A December issue
 * has one more: the months from January 1895 on follow a December that is not in the record.
 */
function analogueSums(totals, issueMonth, lead) {
  const sums = [];
  const calendarMonth = issueMonth % 12;
  for (let a = calendarMonth === 11 ? -1 : calendarMonth; a + lead <= CALIBRATION_END; a += 12) {
    sums.push(accumulate(totals, lead, a + lead));
  }
  return sums;
}

/** Ensemble of SPI values for `issue + lead`: what has fallen already, continued by each analogue. Sorted. */
export function ensemble(climate, scale, issue, lead) {
  const fallen = accumulate(climate.totals, scale - lead, issue);
  const fit = climate.fit(scale, issue + lead);
  return analogueSums(climate.totals, issue, lead)
    .map((sum) => spiOf(fit, fallen + sum))
    .sort((x, y) => x - y);
}

const probabilityOf = (count, members) => (count + 0.5) / (members + 1);

/** Value below which a fraction `q` of sorted members lies, linear between them; 0.5 is the usual median. */
function quantile(sorted, q) {
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const next = sorted[Math.min(below + 1, sorted.length - 1)];
  return sorted[below] + (position - below) * (next - sorted[below]);
}

function outlookOf(climate, issue, lead) {
  const members = ensemble(climate, OUTLOOK_SCALE, issue, lead);
  const p = probabilityOf(members.filter((member) => member <= DROUGHT).length, members.length);
  return { lead, p, median: quantile(members, 0.5), members };
}

/** Warning level from the SPI-6 of today and the probability of drought in three months. */
export function levelOf(spi6, p) {
  if (p < 0.5) return 'none';
  if (spi6 > -1) return 'watch';
  return spi6 > -2 ? 'warning' : 'severe';
}

/** Everything the twin says about one division in one month. */
export function assess(climate, issue) {
  const spi = Object.fromEntries(SCALES.map((scale) => [scale, climate.spi(scale, issue)]));
  const outlooks = OUTLOOK_LEADS.map((lead) => outlookOf(climate, issue, lead));
  return { spi, outlooks, level: levelOf(spi[OUTLOOK_SCALE], outlooks.at(-1).p) };
}

// ------------------------------------------------------------------------------------------------------------------
// Hindcast. Scores are kept as a histogram of integers, (members, members in drought) → (cases, events), from which all
// sums follow: the result cannot depend on how the divisions were split.

/** Largest total that still counts as drought, or −1 where none does. SPI rises with the total, so the set is an interval. */
function droughtThreshold(fit) {
  if (spiOf(fit, 0) > DROUGHT) return -1;
  let low = 0;
  let high = 1;
  while (spiOf(fit, high) <= DROUGHT) high *= 2;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (spiOf(fit, middle) <= DROUGHT) low = middle;
    else high = middle;
  }
  return low;
}

function countAtMost(sorted, limit) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Adds one division's cases of one pair to `histogram`, keyed `members:count`. */
export function hindcastDivision(totals, [scale, lead], histogram, lastTarget = LAST_TARGET) {
  const thresholds = Array.from({ length: 12 }, (_, month) =>
    droughtThreshold(fitGamma(totals, scale, month)),
  );
  const analogues = Array.from({ length: 12 }, (_, month) =>
    analogueSums(totals, month, lead).sort((x, y) => x - y),
  );
  for (let target = FIRST_TARGET; target <= lastTarget; target++) {
    const threshold = thresholds[target % 12];
    const sums = analogues[(target - lead) % 12];
    const fallen = accumulate(totals, scale - lead, target - lead);
    const key = `${sums.length}:${countAtMost(sums, threshold - fallen)}`;
    const cell = histogram.get(key) ?? { cases: 0, events: 0 };
    cell.cases++;
    if (accumulate(totals, scale, target) <= threshold) cell.events++;
    histogram.set(key, cell);
  }
}

/** Sums and scores that follow from a histogram: rows `[members, count, cases, events]`. */
export function scoresOf(rows) {
  const sorted = rows
    .map(([members, count, cases, events]) => ({ p: probabilityOf(count, members), cases, events }))
    .sort((x, y) => x.p - y.p);
  const sums = { n: 0, events: 0, squares: 0, referenceSquares: 0 };
  const bins = Array.from({ length: 10 }, () => ({ n: 0, p: 0, events: 0 }));
  // Area under the ROC curve by ranks: pairs (event, no event) in which the event had the higher p; ties count half.
  let pairsWon = 0;
  let quietBelow = 0;
  for (const { p, cases, events } of sorted) {
    const quiet = cases - events;
    sums.n += cases;
    sums.events += events;
    sums.squares += events * (p - 1) ** 2 + quiet * p ** 2;
    sums.referenceSquares += events * (CLIMATE_PROBABILITY - 1) ** 2 + quiet * CLIMATE_PROBABILITY ** 2;
    const bin = bins[Math.min(9, Math.floor(p * 10))];
    bin.n += cases;
    bin.p += cases * p;
    bin.events += events;
    pairsWon += events * (quietBelow + quiet / 2);
    quietBelow += quiet;
  }
  const brier = sums.squares / sums.n;
  return {
    ...sums,
    bins,
    baseRate: sums.events / sums.n,
    brier,
    skill: 1 - brier / (sums.referenceSquares / sums.n),
    auc: pairsWon / (sums.events * (sums.n - sums.events)),
  };
}

function pairReport([scale, lead], rows) {
  const { n, events, squares, referenceSquares, bins } = scoresOf(rows);
  return { scale, lead, n, events, squares, reference_squares: referenceSquares, bins, histogram: rows };
}

/** Adds partial hindcasts; together they must cover every division once. */
export function mergeHindcasts(parts) {
  const sorted = parts.toSorted((x, y) => x.content.divisions[0] - y.content.divisions[0]);
  let covered = 0;
  for (const { name, content } of sorted) {
    if (
      content.codes_sha256 !== sorted[0].content.codes_sha256 ||
      content.last_target !== sorted[0].content.last_target
    ) {
      throw badData(`${name}: made from other observations than ${sorted[0].name}`);
    }
    if (content.divisions[0] !== covered)
      throw badData(`${name}: divisions ${content.divisions[0]} and ${covered} do not meet`);
    covered = content.divisions[1];
  }
  if (covered !== sorted[0].content.of)
    throw badData(`divisions ${covered} to ${sorted[0].content.of} are in no part`);
  return PAIRS.map(([scale, lead]) => {
    const histogram = new Map();
    for (const { name, content } of sorted) {
      const pair = content.pairs.find((each) => each.scale === scale && each.lead === lead);
      if (pair === undefined) throw badData(`${name}: scale ${scale}, lead ${lead} is missing`);
      for (const [members, count, cases, events] of pair.histogram) {
        const key = `${members}:${count}`;
        const cell = histogram.get(key) ?? { cases: 0, events: 0 };
        histogram.set(key, { cases: cell.cases + cases, events: cell.events + events });
      }
    }
    return { scale, lead, ...scoresOf(histogramRows(histogram)) };
  });
}

function histogramRows(histogram) {
  return [...histogram]
    .map(([key, { cases, events }]) => [...key.split(':').map(Number), cases, events])
    .sort((x, y) => x[0] - y[0] || x[1] - y[1]);
}

// ------------------------------------------------------------------------------------------------------------------
// Tables

const CSV_HEADER = 'division,name,spi1,spi3,spi6,spi12,p6_1,p6_2,p6_3,median6_1,median6_2,median6_3,level';

function decimals(value) {
  const text = value.toFixed(4);
  return text === '-0.0000' ? '0.0000' : text;
}
const csvCell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

export function warningTable(divisions) {
  const lines = divisions.map(({ code, name, spi, outlooks, level }) =>
    [
      code,
      csvCell(name),
      ...SCALES.map((scale) => decimals(spi[scale])),
      ...outlooks.map((outlook) => decimals(outlook.p)),
      ...outlooks.map((outlook) => decimals(outlook.median)),
      level,
    ].join(','),
  );
  return `${[CSV_HEADER, ...lines].join('\n')}\n`;
}

/** Probabilities `p6_<lead>` by division from an earlier month's table. Names may be quoted, the columns after them never. */
function earlierProbabilities(name, text, lead) {
  const [header, ...lines] = text.trimEnd().split('\n');
  if (header !== CSV_HEADER) throw badData(`${name}: not a table of this twin`);
  return new Map(lines.map((line) => [line.slice(0, 4), Number(line.split(',').at(-8 + lead))]));
}

/** How the forecasts that targeted this month fared: the twin checks its own promises. */
export function verifyForecasts(issue, spi6ByCode, earlier) {
  const leads = [];
  for (const lead of OUTLOOK_LEADS) {
    const file = earlier.find(({ name }) => name === `drought-${monthText(issue - lead)}.csv`);
    if (file === undefined) continue;
    const report = { lead, issued: monthText(issue - lead), n: 0, events: 0, brier: 0, reference: 0 };
    const counts = { hits: 0, misses: 0, false_alarms: 0, correct_negatives: 0 };
    for (const [code, p] of earlierProbabilities(file.name, file.text, lead)) {
      const spi6 = spi6ByCode.get(code);
      if (spi6 === undefined || !(p > 0 && p < 1))
        throw badData(`${file.name}: division ${code} is unknown or has no probability`);
      const event = spi6 <= DROUGHT ? 1 : 0;
      report.n++;
      report.events += event;
      report.brier += (p - event) ** 2;
      report.reference += (CLIMATE_PROBABILITY - event) ** 2;
      const warned = p >= 0.5;
      if (event === 1) counts[warned ? 'hits' : 'misses']++;
      else counts[warned ? 'false_alarms' : 'correct_negatives']++;
    }
    report.brier /= report.n;
    report.reference /= report.n;
    leads.push({ ...report, ...counts });
  }
  return { target: monthText(issue), event: 'SPI-6 <= -1', leads };
}

// ------------------------------------------------------------------------------------------------------------------
// Names and outlines

const STATES =
  'Alabama,Arizona,Arkansas,California,Colorado,Connecticut,Delaware,Florida,Georgia,Idaho,Illinois,Indiana,Iowa,Kansas,' +
  'Kentucky,Louisiana,Maine,Maryland,Massachusetts,Michigan,Minnesota,Mississippi,Missouri,Montana,Nebraska,Nevada,' +
  'New Hampshire,New Jersey,New Mexico,New York,North Carolina,North Dakota,Ohio,Oklahoma,Oregon,Pennsylvania,Rhode Island,' +
  'South Carolina,South Dakota,Tennessee,Texas,Utah,Vermont,Virginia,Washington,West Virginia,Wisconsin,Wyoming';
const stateOf = (code) => STATES.split(',')[Number(code.slice(0, 2)) - 1] ?? '';
/** `ST. LAWRENCE VALLEY` → `St. Lawrence Valley`. */
const inTitleCase = (name) =>
  name
    .toLowerCase()
    .replace(/\b(?!and\b)[a-z]/g, (letter) => letter.toUpperCase())
    .replace(/^Ne /, 'NE ');

const radians = (degrees) => (degrees * Math.PI) / 180;

/** Albers' equal-area conic projection with the usual parallels for the contiguous USA; y grows downwards. */
function albers([longitude, latitude]) {
  const [south, north] = [radians(29.5), radians(45.5)];
  const n = (Math.sin(south) + Math.sin(north)) / 2;
  const c = Math.cos(south) ** 2 + 2 * n * Math.sin(south);
  const radius = (phi) => Math.sqrt(c - 2 * n * Math.sin(phi)) / n;
  const theta = n * radians(longitude + 96);
  const rho = radius(radians(latitude));
  return [rho * Math.sin(theta), rho * Math.cos(theta) - radius(radians(37.5))];
}

/** Reads TopoJSON: names by code, and rings projected into a box, in tenths of a pixel. */
export function readOutlines(text, box) {
  let topology;
  try {
    topology = JSON.parse(text);
  } catch {
    throw badData('divisions.topojson: not JSON');
  }
  const geometries = topology?.objects?.divisions?.geometries;
  if (!Array.isArray(geometries) || !Array.isArray(topology.arcs))
    throw badData('divisions.topojson: no divisions in it');
  const { scale, translate } = topology.transform;
  const projected = topology.arcs.map((arc) => {
    let [x, y] = [0, 0];
    return arc.map(([dx, dy]) => {
      x += dx;
      y += dy;
      return albers([x * scale[0] + translate[0], y * scale[1] + translate[1]]);
    });
  });
  const xs = projected.flatMap((arc) => arc.map((point) => point[0]));
  const ys = projected.flatMap((arc) => arc.map((point) => point[1]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const zoom = Math.min(box.width / (right - left), box.height / (bottom - top));
  const arcs = projected.map((arc) =>
    arc.map(([x, y]) => [
      Math.round((box.x + (x - left) * zoom) * 10),
      Math.round((box.y + (y - top) * zoom) * 10),
    ]),
  );
  const divisions = new Map();
  for (const { id, arcs: polygons, properties } of geometries) {
    const rings = polygons.flat().map((ring) =>
      ring.flatMap((reference, position) => {
        const points = reference < 0 ? arcs[~reference].toReversed() : arcs[reference];
        return position === 0 ? points : points.slice(1);
      }),
    );
    divisions.set(id, { name: inTitleCase(properties.name), rings });
  }
  const areas = [...divisions].flatMap(([code, { rings }]) => rings.map((ring) => areaOf(code, ring)));
  return { divisions, borders: arcs.filter((arc) => separatesStates(arc, areas)) };
}

function areaOf(code, ring) {
  const xs = ring.map((point) => point[0]);
  const ys = ring.map((point) => point[1]);
  return {
    state: code.slice(0, 2),
    ring,
    left: Math.min(...xs),
    right: Math.max(...xs),
    top: Math.min(...ys),
    bottom: Math.max(...ys),
  };
}

/** Whether different states, or land and sea, lie 1.5 pixels to either side. (Outlines were simplified one by one: an arc with
 * one owner may as well run along a sliver between two divisions of a state.) */
function separatesStates(arc, areas) {
  const middle = Math.floor((arc.length - 1) / 2);
  const [[x0, y0], [x1, y1]] = [arc[middle], arc[middle + 1] ?? arc[middle]];
  const length = Math.hypot(x1 - x0, y1 - y0) || 1;
  const [dx, dy] = [((y1 - y0) / length) * 15, ((x0 - x1) / length) * 15];
  const stateAt = (x, y) => areas.find((area) => contains(area, x, y))?.state;
  const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
  return stateAt(x + dx, y + dy) !== stateAt(x - dx, y - dy);
}

function contains({ ring, left, right, top, bottom }, x, y) {
  if (x < left || x > right || y < top || y > bottom) return false;
  let inside = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [ring[i], ring[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

/** `M12.3 4l.5-1` …: absolute start, then steps, in tenths of a pixel without drift. */
function pathOf(points) {
  const tenth = (value) => String(value / 10).replace(/^(-?)0\./, '$1.');
  let [x, y] = points[0];
  let path = `M${tenth(x)} ${tenth(y)}l`;
  let first = true;
  for (const [nextX, nextY] of points.slice(1)) {
    if (nextX === x && nextY === y) continue;
    const [dx, dy] = [tenth(nextX - x), tenth(nextY - y)];
    path += `${first || dx.startsWith('-') ? '' : ' '}${dx}${dy.startsWith('-') ? '' : ' '}${dy}`;
    [x, y, first] = [nextX, nextY, false];
  }
  return first ? '' : path;
}

/** Area (signed) and centre of gravity of a ring, in pixels. */
function centreOf(ring) {
  let [area, x, y] = [0, 0, 0];
  for (let i = 0; i < ring.length; i++) {
    const [[x0, y0], [x1, y1]] = [ring[i], ring[(i + 1) % ring.length]];
    const cross = x0 * y1 - x1 * y0;
    area += cross / 2;
    x += (x0 + x1) * cross;
    y += (y0 + y1) * cross;
  }
  return { area: Math.abs(area), x: x / (60 * area), y: y / (60 * area) };
}

// ------------------------------------------------------------------------------------------------------------------
// Pictures

const INK = '#1f2a33';
const FAINT = '#66727b';
const PAPER = '#fcfbf8';
const FONT = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\"";
/** Upper bounds of the probability classes and their colours: one hue, dark means likely, readable without red and green. */
const CLASSES = [
  [0.05, '#f6f2e9'],
  [0.1, '#f3e7cd'],
  [0.2, '#fbd99b'],
  [0.35, '#f8b862'],
  [0.5, '#ea8f3a'],
  [0.65, '#cc6320'],
  [0.8, '#9c3f14'],
  [1, '#64230f'],
];
const LEVELS = {
  severe: 'severe: in drought already, SPI-6 ≤ −2',
  warning: 'warning: in drought already, SPI-6 ≤ −1',
  watch: 'watch: not in drought yet',
};
const colourOf = (p) => CLASSES.find(([upTo]) => p < upTo)[1];
const escapeXml = (text) =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const percent = (p) => `${Math.round(p * 100)} %`;
const signed = (value) => value.toFixed(2).replace('-', '−');

const text = (x, y, size, content, attributes = '') =>
  `<text x="${x}" y="${y}" font-size="${size}" ${attributes}>${escapeXml(content)}</text>`;
const faint = (x, y, size, content, attributes = '') =>
  text(x, y, size, content, `fill="${FAINT}" ${attributes}`);

function frame(width, height, title, description, body) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description" ${FONT} fill="${INK}">`,
    `<title id="title">${escapeXml(title)}</title>`,
    `<desc id="description">${escapeXml(description)}</desc>`,
    `<rect width="${width}" height="${height}" fill="${PAPER}"/>`,
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

const HATCHES = [
  '<defs>',
  '<pattern id="watch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6" stroke="#fff" stroke-width="1.6" stroke-opacity=".75"/></pattern>',
  '<pattern id="warning" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><path d="M0 0V6" stroke="#101820" stroke-width="2.6" stroke-opacity=".6"/></pattern>',
  '<pattern id="severe" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6M0 0H6" stroke="#101820" stroke-width="2.2" stroke-opacity=".85"/></pattern>',
  '</defs>',
];

const MAP = { width: 1200, height: 740, box: { x: 36, y: 118, width: 850, height: 540 } };

/** Choropleth of the probability of drought in three months, hatched by level. */
export function drawMap(issue, divisions, outlines, mostLikely) {
  const counts = countLevels(divisions);
  const target = issue + OUTLOOK_LEADS.at(-1);
  const title = `Drought outlook for ${monthInWords(target)}`;
  const subtitle = `Probability that the six months to then are among the driest sixth on record (SPI-6 ≤ −1); issued at the end of ${monthInWords(issue)}`;
  const leading = mostLikely
    .map(({ code, name, outlooks }) => `${name}, ${stateOf(code)}, ${percent(outlooks.at(-1).p)}`)
    .join('; ');
  const description =
    `Map of the ${divisions.length} climate divisions of the contiguous USA. ${counts.watch} on watch, ${counts.warning} on warning, ` +
    `${counts.severe} severe. Most likely: ${leading}.`;
  const shapes = divisions.map((division) => {
    const rings = outlines.divisions.get(division.code)?.rings ?? [];
    return { division, d: rings.map((ring) => `${pathOf(ring)}z`).join('') };
  });
  const alerted = shapes.filter(({ division }) => division.level !== 'none');
  const fills = shapes.map(({ division, d }) => {
    const { code, name, spi, outlooks, level } = division;
    const hint = `${name}, ${stateOf(code)} (${code}): ${percent(outlooks.at(-1).p)}, SPI-6 now ${signed(spi[6])}${level === 'none' ? '' : `, ${level}`}`;
    return `<path fill="${colourOf(outlooks.at(-1).p)}" d="${d}"><title>${escapeXml(hint)}</title></path>`;
  });
  const marks = mostLikely.map(({ code }, i) => {
    const rings = outlines.divisions.get(code)?.rings ?? [];
    const { x, y } = rings
      .map(centreOf)
      .reduce((best, each) => (each.area > best.area ? each : best), { area: 0, x: 0, y: 0 });
    return badge(Number(x.toFixed(1)), Number(y.toFixed(1)), i + 1);
  });
  return frame(MAP.width, MAP.height, `${title}, issued ${monthText(issue)}`, description, [
    ...HATCHES,
    text(36, 54, 30, title, 'font-weight="700"'),
    faint(36, 82, 15, subtitle),
    `<g stroke="#fff" stroke-width=".6" stroke-linejoin="round">`,
    ...fills,
    '</g>',
    '<g pointer-events="none" stroke-linejoin="round">',
    ...alerted.map(({ division, d }) => `<path fill="url(#${division.level})" d="${d}"/>`),
    `<path fill="none" stroke="#77695a" stroke-width=".7" d="${outlines.borders.map(pathOf).join('')}"/>`,
    ...alerted.map(({ d }) => `<path fill="none" stroke="${INK}" stroke-width="1.3" d="${d}"/>`),
    ...marks,
    '</g>',
    ...drawLegend(counts),
    ...drawMostLikely(mostLikely),
    faint(
      36,
      716,
      12,
      'Data: NOAA/NCEI nClimDiv monthly precipitation, 1895 to the month of issue. Calibration 1895 to 1980.',
    ),
    faint(
      1164,
      716,
      12,
      'Method: persistence and resampled climatology (Lyon et al. 2012)',
      'text-anchor="end"',
    ),
  ]);
}

const badge = (x, y, number) =>
  `<g><circle cx="${x}" cy="${y}" r="9.5" fill="#fff" stroke="${INK}" stroke-width="1.3"/>${text(x, y + 4, 11.5, String(number), 'text-anchor="middle" font-weight="700"')}</g>`;

function drawLegend(counts) {
  const [x, y, cell] = [924, 150, 30];
  const right = x + CLASSES.length * cell;
  const bar = CLASSES.map(
    ([, colour], i) => `<rect x="${x + i * cell}" y="${y}" width="${cell}" height="16" fill="${colour}"/>`,
  );
  const ticks = CLASSES.slice(0, -1).map(([upTo], i) =>
    faint(x + (i + 1) * cell, y + 33, 11.5, `${Math.round(upTo * 100)}`, 'text-anchor="middle"'),
  );
  const levels = Object.entries(LEVELS).flatMap(([level, meaning], i) => {
    const top = y + 92 + i * 42;
    const swatch = `<rect x="${x}" y="${top}" width="34" height="26" rx="2"`;
    const [word, rest] = meaning.split(': ');
    return [
      `${swatch} fill="${colourOf(0.5)}"/>${swatch} fill="url(#${level})" stroke="${INK}" stroke-width="1.3"/>`,
      text(x + 46, top + 12, 14, `${counts[level]} ${word}`, 'font-weight="700"'),
      faint(x + 46, top + 27, 11.5, rest),
    ];
  });
  return [
    text(x, y - 14, 14, 'Probability of drought', 'font-weight="700"'),
    ...bar,
    `<rect x="${x}" y="${y}" width="${right - x}" height="16" fill="none" stroke="${FAINT}" stroke-width=".7"/>`,
    ...ticks,
    faint(right + 4, y + 33, 11.5, '%', 'text-anchor="middle"'),
    text(x, y + 76, 14, 'Level, from 50 % on', 'font-weight="700"'),
    ...levels,
  ];
}

function drawMostLikely(divisions) {
  const [x, y] = [924, 412];
  const parts = [text(x, y - 14, 14, 'Most likely', 'font-weight="700"')];
  divisions.forEach(({ code, name, spi, outlooks }, i) => {
    const middle = y + 14 + i * 41;
    const p = outlooks.at(-1).p;
    parts.push(badge(x + 10, middle, i + 1));
    parts.push(text(x + 30, middle - 2, 13.5, name, 'font-weight="600"'));
    parts.push(faint(x + 30, middle + 14, 11.5, `${stateOf(code)} · SPI-6 now ${signed(spi[6])}`));
    parts.push(text(1164, middle + 4, 16, percent(p), 'text-anchor="end" font-weight="700"'));
  });
  return parts;
}

/** SPI-6 of the last three years, and the fan of the three months ahead. */
export function drawSeries(issue, climate, { code, name, outlooks }) {
  const [width, height, left, right, top, bottom] = [960, 420, 64, 880, 96, 368];
  const past = 36;
  const first = issue - past + 1;
  const x = (month) => left + ((month - first) * (right - left)) / (past + 2);
  const y = (value) => top + ((SPI_LIMIT - value) * (bottom - top)) / (2 * SPI_LIMIT);
  const at = (month, value) => `${x(month).toFixed(1)} ${y(value).toFixed(1)}`;
  const observed = Array.from({ length: past }, (_, i) => [
    first + i,
    climate.spi(OUTLOOK_SCALE, first + i),
  ]).filter(([, value]) => value !== undefined);
  const area = `M${at(observed[0][0], 0)}L${observed.map(([t, v]) => at(t, v)).join('L')}L${at(issue, 0)}Z`;
  const now = observed.at(-1)[1];
  const band = (low, high) => {
    const months = outlooks.map(({ lead }) => issue + lead);
    const upper = outlooks.map(({ members }, i) => at(months[i], quantile(members, high)));
    const lower = outlooks.map(({ members }, i) => at(months[i], quantile(members, low))).reverse();
    return `M${at(issue, now)}L${[...upper, ...lower].join('L')}Z`;
  };
  const last = outlooks.at(-1);
  const title = `${name}, ${stateOf(code)}: half-year precipitation index and outlook`;
  const description =
    `SPI-6 is ${signed(now)} in ${monthInWords(issue)}; in three months its median is ${signed(last.median)} and drought ` +
    `(SPI-6 at or below −1) has a probability of ${percent(last.p)}.`;
  const grid = [-3, -2, -1, 0, 1, 2, 3].flatMap((value) => [
    `<path d="M${left} ${y(value).toFixed(1)}H${right}" stroke="${value === -1 ? '#9c3f14' : '#ddd8ce'}" stroke-width="${value === 0 ? 1.4 : 1}"${value === -1 ? ' stroke-dasharray="5 4"' : ''}/>`,
    faint(
      left - 10,
      y(value) + 4,
      12,
      value > 0 ? `+${value}` : String(value).replace('-', '−'),
      'text-anchor="end"',
    ),
  ]);
  const years = [];
  for (let t = first; t <= issue + 3; t++) {
    if (t % 12 !== 0) continue;
    years.push(`<path d="M${x(t).toFixed(1)} ${top}V${bottom}" stroke="#ece8de"/>`);
    years.push(
      faint(Number(x(t).toFixed(1)), bottom + 20, 12, String(FIRST_YEAR + t / 12), 'text-anchor="middle"'),
    );
  }
  return frame(width, height, title, description, [
    `<defs><clipPath id="wet"><rect x="0" y="0" width="${width}" height="${y(0).toFixed(1)}"/></clipPath><clipPath id="dry"><rect x="0" y="${y(0).toFixed(1)}" width="${width}" height="${height}"/></clipPath></defs>`,
    text(36, 42, 22, `${name}, ${stateOf(code)}`, 'font-weight="700"'),
    faint(
      36,
      66,
      14,
      `SPI-6 now ${signed(now)}; in three months ${percent(last.p)} for drought, median ${signed(last.median)}`,
    ),
    ...years,
    ...grid,
    `<path d="${area}" fill="#2f7f86" fill-opacity=".75" clip-path="url(#wet)"/>`,
    `<path d="${area}" fill="#ea8f3a" clip-path="url(#dry)"/>`,
    `<path d="M${observed.map(([t, v]) => at(t, v)).join('L')}" fill="none" stroke="${INK}" stroke-width="1.4" stroke-linejoin="round"/>`,
    `<path d="${band(0.05, 0.95)}" fill="#9c3f14" fill-opacity=".18"/>`,
    `<path d="${band(0.25, 0.75)}" fill="#9c3f14" fill-opacity=".32"/>`,
    `<path d="M${at(issue, now)}L${outlooks.map(({ lead, median }) => at(issue + lead, median)).join('L')}" fill="none" stroke="#64230f" stroke-width="2.4"/>`,
    `<path d="M${x(issue).toFixed(1)} ${top}V${bottom}" stroke="${INK}" stroke-dasharray="2 3"/>`,
    text(
      Number((x(issue) - 6).toFixed(1)),
      top + 12,
      12,
      monthText(issue),
      `text-anchor="end" fill="${FAINT}"`,
    ),
    text(right + 8, Number((y(-1) + 4).toFixed(1)), 12, 'drought', 'fill="#9c3f14"'),
    faint(36, 406, 11.5, 'Outlook: median, middle half and 90 % of the members'),
  ]);
}

function countLevels(divisions) {
  const counts = { none: 0, watch: 0, warning: 0, severe: 0 };
  for (const { level } of divisions) counts[level]++;
  return counts;
}

// ------------------------------------------------------------------------------------------------------------------
// Files

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const inputOutput = (action) => {
  try {
    return action();
  } catch (error) {
    throw new PayloadError(74, error.message);
  }
};

/** Files of a folder that `wanted` accepts, sorted by name, with their bytes. */
function readFolder(folder, wanted) {
  let names;
  try {
    names = readdirSync(folder);
  } catch (error) {
    throw noInput(`cannot read the input folder: ${error.message}`);
  }
  return names
    .filter(wanted)
    .sort()
    .map((name) => ({ name, bytes: inputOutput(() => readFileSync(join(folder, name))) }));
}
const asText = ({ name, bytes }) => ({ name, text: bytes.toString('utf8') });

/** Writes all files under temporary names, each to the disk, and only then gives them their own: none is ever half there. */
function writeFiles(folder, files) {
  inputOutput(() => {
    mkdirSync(folder, { recursive: true });
    const temporary = ([name]) => join(folder, `.${name}.${process.pid}.tmp`);
    try {
      for (const file of files) {
        const descriptor = openSync(temporary(file), 'w', 0o644);
        writeFileSync(descriptor, file[1]);
        fsyncSync(descriptor);
        closeSync(descriptor);
      }
      for (const file of files) renameSync(temporary(file), join(folder, file[0]));
      const directory = openSync(folder, 'r');
      fsyncSync(directory);
      closeSync(directory);
    } catch (error) {
      for (const file of files) rmSync(temporary(file), { force: true });
      throw error;
    }
  });
}

const asJson = (value) => `${JSON.stringify(value, null, 2)}\n`;

/** One line per event to the file that DROUGHT_JOURNAL names, on the disk when this returns. */
function journal(event) {
  const file = process.env.DROUGHT_JOURNAL;
  if (file === undefined || file === '') return;
  const line = {
    uid: process.env.WEFT_POD_UID ?? null,
    event,
    at: new Date().toISOString(),
    pid: process.pid,
  };
  inputOutput(() => {
    const descriptor = openSync(file, 'a', 0o666);
    writeSync(descriptor, `${JSON.stringify(line)}\n`);
    fsyncSync(descriptor);
    closeSync(descriptor);
  });
}

// ------------------------------------------------------------------------------------------------------------------
// Commands

const started = performance.now();
function say(line) {
  const seconds = ((performance.now() - started) / 1000).toFixed(2);
  process.stdout.write(`${seconds.padStart(7)} s  ${line}\n`);
}

let stopping = false;
/** Lets signals in; called after each division. */
async function breathe() {
  await new Promise((resolve) => setImmediate(resolve));
  if (stopping) throw new PayloadError(143, 'stopped; nothing was written');
}

async function eachDivision(from, to, work) {
  const step = Math.max(1, Math.ceil((to - from) / 8));
  for (let d = from; d < to; d++) {
    work(d);
    const done = d - from + 1;
    if (done % step === 0 || done === to - from) process.stdout.write(`progress ${done}/${to - from}\n`);
    await breathe();
  }
}

function readInputs(folder) {
  const files = readFolder(folder, (name) => name.endsWith('.csv') && !name.startsWith('.'));
  const observations = readObservations(files.map(asText));
  say(
    `read ${files.length} files: ${observations.codes.length} divisions, ${FIRST_YEAR}-01 to ${monthText(observations.last)}`,
  );
  return { files, observations };
}

async function update({ in: input, out, issue: wanted, previous }) {
  const startedAt = new Date().toISOString();
  journal('started');
  const { files, observations } = readInputs(input);
  const issue = wanted === 'latest' ? observations.last : monthIndex(wanted);
  if (issue === undefined || issue < 11)
    throw usage(`--issue ${wanted}: not a month from ${FIRST_YEAR}-12 on, as YYYY-MM, nor "latest"`);
  if (issue > observations.last)
    throw badData(`gap: month ${monthText(observations.last + 1)} is in no file, ${wanted} was asked for`);
  const month = monthText(issue);

  const outlineFiles = readFolder(input, (name) => name === 'divisions.topojson');
  const outlines =
    outlineFiles.length === 0 ? undefined : readOutlines(outlineFiles[0].bytes.toString('utf8'), MAP.box);
  if (outlines === undefined)
    process.stderr.write('warning: no divisions.topojson among the inputs: no map, codes instead of names\n');

  const climates = observations.totals.map(climateOf);
  const divisions = [];
  await eachDivision(0, observations.codes.length, (d) => {
    const code = observations.codes[d];
    const name = outlines?.divisions.get(code)?.name ?? code;
    divisions.push({ code, name, climate: climates[d], ...assess(climates[d], issue) });
  });
  divisions.sort((x, y) => (x.code < y.code ? -1 : 1));
  const counts = countLevels(divisions);
  say(`${month}: ${counts.watch} watch, ${counts.warning} warning, ${counts.severe} severe`);

  const mostLikely = divisions
    .toSorted((x, y) => y.outlooks.at(-1).p - x.outlooks.at(-1).p || (x.code < y.code ? -1 : 1))
    .slice(0, 6);
  const outputs = [[`drought-${month}.csv`, warningTable(divisions)]];
  if (outlines !== undefined)
    outputs.push([`map-${month}.svg`, drawMap(issue, divisions, outlines, mostLikely)]);
  for (const division of mostLikely)
    outputs.push([`series-${division.code}.svg`, drawSeries(issue, division.climate, division)]);

  const earlier =
    previous === undefined
      ? []
      : readFolder(previous, (name) => /^drought-\d{4}-\d{2}\.csv$/.test(name)).map(asText);
  const spi6ByCode = new Map(divisions.map(({ code, spi }) => [code, spi[OUTLOOK_SCALE]]));
  const verification = verifyForecasts(issue, spi6ByCode, earlier);
  if (verification.leads.length > 0) outputs.push([`verification-${month}.json`, asJson(verification)]);
  for (const each of verification.leads) {
    say(
      `forecast of ${each.issued}: Brier score ${each.brier.toFixed(5)} against ${each.reference.toFixed(5)}, ${each.hits} hits, ${each.misses} misses`,
    );
  }

  const described = (name, bytes) => ({ name, bytes: Buffer.byteLength(bytes), sha256: sha256(bytes) });
  const run = {
    issue: month,
    levels: counts,
    inputs: [...files, ...outlineFiles].map(({ name, bytes }) => described(name, bytes)),
    outputs: outputs.map(([name, content]) => described(name, content)),
    payload_sha256: sha256(readFileSync(fileURLToPath(import.meta.url))),
    node: process.version,
    host: hostname(),
    job: process.env.SLURM_JOB_ID ?? process.env.WEFT_JOB_ID ?? null,
    pod_uid: process.env.WEFT_POD_UID ?? null,
    started: startedAt,
    ended: new Date().toISOString(),
    peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
  };
  writeFiles(out, [...outputs, ['run.json', asJson(run)]]);
  journal('completed');
  say(`wrote ${outputs.length + 1} files`);
}

async function hindcast({ in: input, out, divisions: range }) {
  const { observations } = readInputs(input);
  const { codes, totals, last } = observations;
  const match = /^(\d+):(\d+)$/.exec(range);
  const [from, to] = match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
  if (from >= to || to > codes.length)
    throw usage(`--divisions ${range}: not A:B with 0 <= A < B <= ${codes.length} (B is not included)`);
  const lastTarget = Math.min(LAST_TARGET, last);
  if (lastTarget < FIRST_TARGET)
    throw badData(`observations end with ${monthText(last)}; verification begins with 1981-01`);
  const histograms = PAIRS.map(() => new Map());
  await eachDivision(from, to, (d) => {
    for (const [i, pair] of PAIRS.entries()) hindcastDivision(totals[d], pair, histograms[i], lastTarget);
  });
  const content = {
    divisions: [from, to],
    of: codes.length,
    codes_sha256: sha256(codes.join()),
    last_target: monthText(lastTarget),
    pairs: PAIRS.map((pair, i) => pairReport(pair, histogramRows(histograms[i]))),
  };
  const name = `hindcast-${String(from).padStart(3, '0')}-${String(to).padStart(3, '0')}.json`;
  writeFiles(out, [[name, asJson(content)]]);
  say(`wrote ${name}`);
}

async function merge({ in: input, out }) {
  const files = readFolder(input, (name) => /^hindcast-\d+-\d+\.json$/.test(name));
  if (files.length === 0) throw noInput('no hindcast-A-B.json among the inputs');
  const parts = files.map(({ name, bytes }) => {
    try {
      return { name, content: JSON.parse(bytes.toString('utf8')) };
    } catch {
      throw badData(`${name}: truncated, or not JSON`);
    }
  });
  const skill = mergeHindcasts(parts);
  say('  k  L  base rate       BS      BSS     AUC');
  for (const { scale, lead, baseRate, brier, skill: score, auc } of skill) {
    const cells = [baseRate.toFixed(4), brier.toFixed(5), score.toFixed(4), auc.toFixed(4)];
    say(
      `${String(scale).padStart(3)} ${String(lead).padStart(2)}  ${cells.map((cell) => cell.padStart(8)).join(' ')}`,
    );
  }
  writeFiles(out, [['skill.json', asJson(skill)]]);
}

const COMMANDS = {
  update: { run: update, needs: ['in', 'out', 'issue'], may: ['previous'] },
  hindcast: { run: hindcast, needs: ['in', 'out', 'divisions'], may: [] },
  merge: { run: merge, needs: ['in', 'out'], may: [] },
};

async function main([name, ...rest]) {
  const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name] : undefined;
  if (command === undefined) throw usage(`say one of: ${Object.keys(COMMANDS).join(', ')}`);
  const known = [...command.needs, ...command.may];
  let values;
  try {
    ({ values } = parseArgs({
      args: rest,
      options: Object.fromEntries(known.map((option) => [option, { type: 'string' }])),
    }));
  } catch (error) {
    throw usage(error.message);
  }
  const missing = command.needs.find((option) => values[option] === undefined);
  if (missing !== undefined) throw usage(`${name} needs --${missing}`);
  await command.run(values);
}

const isProgram =
  process.argv[1] !== undefined &&
  realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url));
if (isProgram) {
  process.on('SIGTERM', () => {
    stopping = true;
  });
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    const message = error instanceof PayloadError ? error.message : (error.stack ?? String(error));
    process.stderr.write(`${basename(process.argv[1])}: ${message}\n`);
    process.exitCode = error instanceof PayloadError ? error.exitCode : 70;
  }
}
