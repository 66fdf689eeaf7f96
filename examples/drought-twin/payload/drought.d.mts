// Types of the payload's exports, for its tests; the payload itself stays one file of plain JavaScript.

export class PayloadError extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string);
}

export const SCALES: readonly number[];
/** `[accumulation, lead]` in months. */
export const PAIRS: readonly Pair[];
export type Pair = readonly [scale: number, lead: number];

export function logGamma(x: number): number;
export function gammaP(a: number, x: number): number;
export function normalQuantile(p: number): number;

/** Months are counted from 1895-01 = 0. */
export function monthIndex(text: string): number | undefined;
export function monthText(index: number): string;

export interface TextFile {
  readonly name: string;
  readonly text: string;
}
export interface Observations {
  readonly codes: string[];
  /** By division, then month; hundredths of an inch. */
  readonly totals: Int32Array[];
  readonly last: number;
}
export function readObservations(files: readonly TextFile[]): Observations;

export interface GammaFit {
  readonly n: number;
  readonly zeros: number;
  readonly p0: number;
  readonly alpha: number;
  /** Inches. */
  readonly beta: number;
}
export function fitGamma(totals: ArrayLike<number>, scale: number, calendarMonth: number): GammaFit;
export function spiOf(fit: GammaFit, hundredths: number): number;

export interface Climate {
  readonly totals: ArrayLike<number>;
  fit(scale: number, month: number): GammaFit;
  spi(scale: number, month: number): number | undefined;
}
export function climateOf(totals: ArrayLike<number>): Climate;
export function ensemble(climate: Climate, scale: number, issue: number, lead: number): number[];

export type Level = 'none' | 'watch' | 'warning' | 'severe';
export interface Outlook {
  readonly lead: number;
  readonly p: number;
  readonly median: number;
  readonly members: readonly number[];
}
export interface Assessment {
  readonly spi: Readonly<Record<string, number>>;
  readonly outlooks: readonly Outlook[];
  readonly level: Level;
}
export function levelOf(spi6: number, p: number): Level;
export function assess(climate: Climate, issue: number): Assessment;
export function warningTable(divisions: readonly (Assessment & { code: string; name: string })[]): string;

export interface LeadVerification {
  readonly lead: number;
  readonly issued: string;
  readonly n: number;
  readonly events: number;
  readonly brier: number;
  readonly reference: number;
  readonly hits: number;
  readonly misses: number;
  readonly false_alarms: number;
  readonly correct_negatives: number;
}
export function verifyForecasts(
  issue: number,
  spi6ByCode: ReadonlyMap<string, number>,
  earlier: readonly TextFile[],
): { readonly target: string; readonly leads: readonly LeadVerification[] };

export type Histogram = Map<string, { cases: number; events: number }>;
export function hindcastDivision(
  totals: ArrayLike<number>,
  pair: Pair,
  histogram: Histogram,
  lastTarget?: number,
): void;

export interface Scores {
  readonly n: number;
  readonly events: number;
  readonly baseRate: number;
  readonly brier: number;
  readonly skill: number;
  readonly auc: number;
}
export function scoresOf(
  rows: readonly (readonly [members: number, count: number, cases: number, events: number])[],
): Scores;
