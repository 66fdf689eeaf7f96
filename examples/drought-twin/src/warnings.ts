/** One line of a warning table, as far as the tour looks at it. */
export interface Warning {
  readonly division: string;
  readonly level: string;
  readonly spi6: number;
  /** Probability of drought in three months. */
  readonly p: number;
  readonly median: number;
}

/** Reads `division,name,spi1,spi3,spi6,spi12,p6_1,p6_2,p6_3,median6_1,median6_2,median6_3,level`; only names may be quoted. */
export function readWarnings(csv: string): Warning[] {
  return csv
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => {
      const cells = line.split(',').slice(-11);
      const number = (index: number) => Number(cells[index]);
      return {
        division: line.slice(0, 4),
        level: cells[10] ?? '',
        spi6: number(2),
        p: number(6),
        median: number(9),
      };
    });
}

interface Expected {
  readonly watch: number;
  readonly warning: number;
  readonly severe: number;
  /** Of division 4105, Trans Pecos in Texas, which went into its worst drought in 2011. */
  readonly spi6: number;
  readonly p: number;
  readonly median: number;
}

/** What two independent implementations of the method agree on. */
export const EXPECTED_WARNINGS: Readonly<Record<string, Expected>> = {
  '2010-12': { watch: 18, warning: 3, severe: 2, spi6: 0.399, p: 0.7184, median: -1.743 },
  '2011-01': { watch: 7, warning: 9, severe: 0, spi6: -1.023, p: 0.6149, median: -1.251 },
  '2011-02': { watch: 6, warning: 20, severe: 5, spi6: -1.822, p: 0.477, median: -0.96 },
  '2011-03': { watch: 3, warning: 5, severe: 3, spi6: -3.09, p: 0.3506, median: -0.544 },
  '2011-04': { watch: 0, warning: 10, severe: 6, spi6: -3.09, p: 0.3161, median: -0.677 },
};
