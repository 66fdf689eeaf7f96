/** Placement by rule: who may run it, who can, and who should (brief 3.2 and 3.4). Pure arithmetic on what was observed. */

export interface Weights {
  readonly sla: number;
  readonly capacity: number;
  readonly data: number;
}

/** What is known about one provider at the moment of the decision. */
export interface Observation {
  readonly provider: string;
  readonly rse: string | undefined;
  /** The agreement that lets the user's group in, or undefined when there is none. */
  readonly sla: { readonly id: string; readonly weight: number } | undefined;
  /** State of the site, or why it is not known. */
  readonly site: SiteState | { readonly unreachable: string };
  /** What the user's data need to get there, or why that cannot be said. Undefined when the template needs no data. */
  readonly data: DataNeed | { readonly unknown: string } | undefined;
}

export interface SiteState {
  readonly drained: boolean;
  /** Jobs that can run at once; undefined when the site does not say (an original interLink). */
  readonly slots: number | undefined;
  readonly running: number;
  readonly queued: number;
}

export interface DataNeed {
  readonly totalBytes: number;
  readonly missingBytes: number;
  readonly missingFiles: number;
  /** Files without any replica anywhere. */
  readonly lostFiles: number;
  /** Predicted time to bring the missing bytes. */
  readonly stagingSeconds: number;
}

/** One row of the answer to "why there?". */
export interface Judgement {
  readonly provider: string;
  readonly rse: string | null;
  readonly ranked: boolean;
  /** 1 is the best; null when it cannot be used. */
  readonly rank: number | null;
  readonly score: number;
  readonly contributions: { readonly sla: number; readonly capacity: number; readonly data: number };
  /** In words, the decisive one first. */
  readonly reasons: readonly string[];
  readonly slots: number | null;
  readonly running: number | null;
  readonly queued: number | null;
  readonly missingBytes: number | null;
  readonly stagingSeconds: number | null;
}

/** Demands of the template that a provider must meet. */
export interface Demands {
  /** Why no provider of this kind can run the template, if so. */
  readonly unsupported: readonly string[];
  /** Providers that cannot be used for a reason of this launch: failed already, no token. */
  readonly barred: ReadonlyMap<string, string>;
}

/**
 * Judges every provider and puts the usable ones in order. The score is a weighted sum of three terms between 0 and 1:
 * the weight of the agreement relative to the best one; free slots f as f / (f + 1), or 1 / (2 + jobs ahead) when all
 * are taken; and 60 s / (60 s + predicted staging time). Ties keep the order of the configuration.
 *
 * @returns judgements, usable ones first, best first
 */
export function judge(observations: readonly Observation[], demands: Demands, weights: Weights): Judgement[] {
  const bestSla = Math.max(
    ...observations.map((observation) => observation.sla?.weight ?? 0),
    Number.EPSILON,
  );
  const judged = observations.map((observation) => judgeOne(observation, demands, weights, bestSla));
  const usable = judged.filter((judgement) => judgement.ranked).sort((a, b) => b.score - a.score);
  const others = judged.filter((judgement) => !judgement.ranked);
  return [...usable.map((judgement, index) => ({ ...judgement, rank: index + 1 })), ...others];
}

function judgeOne(observation: Observation, demands: Demands, weights: Weights, bestSla: number): Judgement {
  const site = 'unreachable' in observation.site ? undefined : observation.site;
  const data = observation.data === undefined || 'unknown' in observation.data ? undefined : observation.data;
  const exclusions = exclusionsOf(observation, demands);
  const contributions = {
    sla: round(weights.sla * ((observation.sla?.weight ?? 0) / bestSla)),
    capacity: round(weights.capacity * (site === undefined ? 0 : capacityTerm(site))),
    data: round(weights.data * (60 / (60 + (data?.stagingSeconds ?? 0)))),
  };
  return {
    provider: observation.provider,
    rse: observation.rse ?? null,
    ranked: exclusions.length === 0,
    rank: null,
    score:
      exclusions.length === 0 ? round(contributions.sla + contributions.capacity + contributions.data) : 0,
    contributions,
    reasons: exclusions.length > 0 ? exclusions : merits(site, data),
    slots: site?.slots ?? null,
    running: site?.running ?? null,
    queued: site?.queued ?? null,
    missingBytes: data?.missingBytes ?? null,
    stagingSeconds: data === undefined ? null : round(data.stagingSeconds),
  };
}

function exclusionsOf(observation: Observation, demands: Demands): string[] {
  const { provider, sla, site, data } = observation;
  const exclusions: string[] = [];
  const bar = demands.barred.get(provider);
  if (bar !== undefined) exclusions.push(bar);
  if ('unreachable' in site) exclusions.push(`${provider} unreachable: ${site.unreachable}`);
  else if (site.drained) exclusions.push(`${provider} drained`);
  else if (site.slots === 0) exclusions.push('no slots');
  if (sla === undefined) exclusions.push('no agreement (SLA) with the group');
  for (const type of demands.unsupported) exclusions.push(`cannot run nodes of the type ${type}`);
  if (data !== undefined && 'unknown' in data) exclusions.push(data.unknown);
  if (data !== undefined && 'lostFiles' in data && data.lostFiles > 0) {
    exclusions.push(`${data.lostFiles} input files have no replica anywhere`);
  }
  if (data !== undefined && observation.rse === undefined)
    exclusions.push('has no storage (RSE) for the data');
  return exclusions;
}

function capacityTerm({ slots, running, queued }: SiteState): number {
  if (slots === undefined) return 0.5;
  const free = Math.max(0, slots - running - queued);
  if (free > 0) return free / (free + 1);
  return 1 / (2 + (running + queued - slots + 1) / Math.max(1, slots));
}

function merits(site: SiteState | undefined, data: DataNeed | undefined): string[] {
  const reasons: string[] = [];
  if (site !== undefined) {
    reasons.push(
      site.slots === undefined
        ? 'number of slots not known'
        : `${Math.max(0, site.slots - site.running)} of ${site.slots} slots free, ${site.queued} queued`,
    );
  }
  if (data !== undefined) {
    reasons.push(
      data.missingBytes === 0 ? 'all data present' : `${describeBytes(data.missingBytes)} to bring`,
    );
  }
  return reasons;
}

/** @example describeBytes(2_025_836) // '2.0 MB' */
export function describeBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function round(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
