/** Units of TOSCA's `scalar-unit.*` types with their factor to the base unit (TOSCA 1.3, 3.3.6). Matched without regard to case. */
const UNITS = {
  'scalar-unit.size': {
    b: 1,
    kb: 1e3,
    kib: 2 ** 10,
    mb: 1e6,
    mib: 2 ** 20,
    gb: 1e9,
    gib: 2 ** 30,
    tb: 1e12,
    tib: 2 ** 40,
  },
  'scalar-unit.time': { d: 86_400, h: 3_600, m: 60, s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 },
  'scalar-unit.frequency': { hz: 1, khz: 1e3, mhz: 1e6, ghz: 1e9 },
  'scalar-unit.bitrate': {
    bps: 1,
    kbps: 1e3,
    kibps: 2 ** 10,
    mbps: 1e6,
    mibps: 2 ** 20,
    gbps: 1e9,
    gibps: 2 ** 30,
  },
} as const satisfies Record<string, Record<string, number>>;

export type ScalarUnit = keyof typeof UNITS;

export function isScalarUnit(type: string): type is ScalarUnit {
  return Object.hasOwn(UNITS, type);
}

/**
 * The value of a scalar with a unit in its base unit: bytes, seconds, hertz, bits a second.
 *
 * @example scalarUnit('scalar-unit.size', '512 MiB') // 536870912
 * @returns undefined when it is no number with a unit of that type
 */
export function scalarUnit(type: ScalarUnit, text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text);
  const [, amount, unit] = match ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const factors: Readonly<Record<string, number>> = UNITS[type];
  const name = unit.toLowerCase();
  const factor = Object.hasOwn(factors, name) ? factors[name] : undefined;
  return factor === undefined ? undefined : Number(amount) * factor;
}

export function unitNames(type: ScalarUnit): string {
  return Object.keys(UNITS[type]).join(', ');
}
