import { runKernelChaos } from '../../packages/kernel/test/kernel-chaos.ts';
import type { ChaosRun } from './run.ts';

const PROCESS_KILLS = 200;
const DATABASE_KILLS = 200;

/** Durable work under fire: processes and the database are killed with jobs in flight, and nothing is lost or repeated. */
const chaos: ChaosRun = {
  name: 'kernel',
  async run(report) {
    const plan = { processKills: PROCESS_KILLS, databaseKills: DATABASE_KILLS };
    const outcome = await runKernelChaos(plan, report.note);
    const kills = Object.entries(outcome.kills).map(([victim, times]) => `${victim} ${times}`);
    report.note(`kill -9, each with a job in flight: ${kills.join(', ')}`);
    report.note(`${outcome.wanted} jobs enqueued and committed, ${outcome.attempts} attempts begun`);
    report.check(
      'every job that was enqueued in a committed transaction ran',
      outcome.lost === 0,
      `${outcome.lost} lost`,
    );
    report.check(
      'no job of a transaction that rolled back ran',
      outcome.unwanted === 0,
      `${outcome.unwanted} ran`,
    );
    report.check('no effect was committed twice', outcome.repeated === 0, `${outcome.repeated} repeated`);
    report.check(
      'no job whose completion was committed ran again',
      outcome.runsAfterCompletion === 0,
      `${outcome.runsAfterCompletion} ran`,
    );
    report.check('no job was given up', outcome.deadLetters === 0, `${outcome.deadLetters} dead letters`);
  },
};

export default chaos;
