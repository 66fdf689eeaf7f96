import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export interface TourArguments {
  /** The `weft` command. */
  readonly weft: string;
  /** Data folder of the instance. */
  readonly data: string;
  /** Month of the warning: `2010-12`. */
  readonly issue: string;
  /** Site that takes no new jobs during the tour. */
  readonly drain: string | undefined;
  readonly json: string | undefined;
}

export const USAGE =
  'usage: node run.ts --weft COMMAND --data DIR [--issue YYYY-MM] [--drain SITE] [--json FILE]';

/** Observations up to the month before this one lie in the history; later months arrive one by one. */
export const FIRST_ISSUE = '2010-12';
const LAST_ISSUE = '2019-03';

/** @throws {RangeError} for whoever typed it. */
export function readArguments(argv: readonly string[]): TourArguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      weft: { type: 'string' },
      data: { type: 'string' },
      issue: { type: 'string', default: FIRST_ISSUE },
      drain: { type: 'string' },
      json: { type: 'string' },
    },
  });
  const { weft, data, issue, drain, json } = values;
  if (weft === undefined || data === undefined) throw new RangeError('--weft and --data are needed');
  if (!/^\d{4}-(0[1-9]|1[0-2])$/.test(issue) || issue < FIRST_ISSUE || issue > LAST_ISSUE) {
    throw new RangeError(`--issue ${issue}: not a month from ${FIRST_ISSUE} to ${LAST_ISSUE}`);
  }
  return { weft: resolve(weft), data: resolve(data), issue, drain, json };
}
