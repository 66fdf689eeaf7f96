import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A file of monthly totals as the observatory publishes it: canonical header, then one line a month. */
export interface ObservationFile {
  /** `climdiv-pcpn-1934.csv` or `climdiv-pcpn-2010-12.csv`; also the name of its DID. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

const table = new URL('../data/climdiv-pcpn.csv', import.meta.url);

/** The outlines and names of the divisions, which the payload draws its map from. */
export function outlineFile(): ObservationFile {
  return {
    name: 'divisions.topojson',
    bytes: readFileSync(new URL('../data/divisions.topojson', import.meta.url)),
  };
}

/** One file a year from 1895 to the month before `issue`; the last year may have fewer than twelve lines. */
export function historyFiles(issue: string): ObservationFile[] {
  const { header, lines } = readTable();
  const byYear = Map.groupBy(
    lines.filter((line) => line.slice(0, 7) < issue),
    (line) => line.slice(0, 4),
  );
  return [...byYear].map(([year, months]) => observationFile(year, header, months));
}

/** The file of one month, as it arrives during operation. */
export function monthlyFile(issue: string): ObservationFile {
  const { header, lines } = readTable();
  const line = lines.find((each) => each.startsWith(`${issue},`));
  if (line === undefined)
    throw new RangeError(`There is no observation of ${issue}: they run from 1895-01 to 2019-03.`);
  return observationFile(issue, header, [line]);
}

function readTable(): { header: string; lines: string[] } {
  const [header = '', ...lines] = readFileSync(table, 'utf8').trimEnd().split('\n');
  return { header, lines };
}

function observationFile(period: string, header: string, months: readonly string[]): ObservationFile {
  return { name: `climdiv-pcpn-${period}.csv`, bytes: Buffer.from(`${[header, ...months].join('\n')}\n`) };
}

/** Adler-32 (RFC 1950, section 8.2) as eight hexadecimal digits, the checksum of grid storage. */
export function adler32(bytes: Uint8Array): string {
  const modulus = 65521;
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % modulus;
    b = (b + a) % modulus;
  }
  return (b * 65536 + a).toString(16).padStart(8, '0');
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
