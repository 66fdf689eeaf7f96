import type { Datalake, ReplicaSummary } from './peers.ts';
import type { DataNeed } from './placement.ts';

/** Distance that is assumed where the datalake knows none. */
const UNKNOWN_DISTANCE = 1;

/**
 * What it would take to bring the data to each of the RSEs: bytes that are not there yet, each read from its nearest
 * source, at `bytesPerSecond` divided by the distance.
 */
export async function dataNeeds(
  datalake: Datalake,
  dids: readonly string[],
  rses: readonly string[],
  bytesPerSecond: number,
): Promise<ReadonlyMap<string, DataNeed>> {
  const summary = await datalake.replicas(dids);
  const sources = [...new Set(summary.holdings.flatMap((holding) => holding.rses))];
  const needs = await Promise.all(
    rses.map(async (rse) => {
      const relevant = sources.filter((source) => source !== rse);
      const distances = new Map(
        await Promise.all(
          relevant.map(
            async (source) => [source, (await datalake.distance(source, rse)) ?? UNKNOWN_DISTANCE] as const,
          ),
        ),
      );
      return [rse, needAt(rse, summary, distances, bytesPerSecond)] as const;
    }),
  );
  return new Map(needs);
}

function needAt(
  rse: string,
  summary: ReplicaSummary,
  distances: ReadonlyMap<string, number>,
  bytesPerSecond: number,
): DataNeed {
  let missingBytes = 0;
  let missingFiles = 0;
  let lostFiles = 0;
  let stagingSeconds = 0;
  for (const { rses, files, bytes } of summary.holdings) {
    if (rses.includes(rse)) continue;
    missingBytes += bytes;
    missingFiles += files;
    if (rses.length === 0) {
      lostFiles += files;
      continue;
    }
    const nearest = Math.min(...rses.map((source) => distances.get(source) ?? UNKNOWN_DISTANCE));
    stagingSeconds += (bytes * Math.max(1, nearest)) / bytesPerSecond;
  }
  return { totalBytes: summary.bytes, missingBytes, missingFiles, lostFiles, stagingSeconds };
}
