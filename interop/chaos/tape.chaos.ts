import { killDuringTape } from '../../packages/storage/test/tape-under-kills.ts';
import type { ChaosRun } from './run.ts';

const KILLS = Number(process.env.WEFT_CHAOS_TAPE_KILLS ?? 60);
const FILES = 40;

/** Processes of a storage with tape are killed while files are archived, evicted, recalled, read and released. */
const chaos: ChaosRun = {
  name: 'tape',
  async run(report) {
    const { wrong, lost, leftovers, seen } = await killDuringTape({
      processes: 2,
      files: FILES,
      kills: KILLS,
    });
    report.note(`${KILLS} kills of two processes, ${FILES} files; reads meanwhile: ${JSON.stringify(seen)}`);
    report.check(
      'whoever reads gets the content, or is told that it is on tape',
      wrong.length === 0,
      wrong[0],
    );
    report.check('every file comes back as it was', lost.length === 0, lost[0]);
    report.check('nothing half written is left', leftovers.length === 0, leftovers.join(', '));
  },
};

export default chaos;
