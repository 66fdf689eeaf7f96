import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../errors/index.ts';
import { createAlarm } from './alarm.ts';
import { leadershipOf } from './leadership.ts';
import type { StartLoop } from './types.ts';

const FIRST_PAUSE_MILLISECONDS = 200;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** How often a process that does not lead asks again. */
const FOLLOWER_MILLISECONDS = 2_000;

/**
 * Runs `step` when woken and every `everySeconds`; see `StartLoop`. `stop` aborts the signal of a running step and waits
 * for the step to end.
 *
 * @example
 * const loop = startLoop({ database, wakeUps, log, name: 'datalake.evaluate-rules', everySeconds: 10 }, async () => {
 *   const evaluated = await evaluateRules(database, 100);
 *   return evaluated === 100 ? 'more' : 'idle';
 * });
 */
export const startLoop: StartLoop = (options, step) => {
  const { name, wakeUps } = options;
  const log = options.log.child({ loop: name });
  const alarm = createAlarm();
  const abort = new AbortController();
  const leadership = options.leaderOnly === true ? leadershipOf(options.database, log) : undefined;
  const unsubscribe = (options.channels ?? [name]).map((channel) => wakeUps.on(channel, alarm.ring));
  const running = run();

  async function run(): Promise<void> {
    let failures = 0;
    while (!abort.signal.aborted) {
      try {
        if (leadership !== undefined && !(await leadership.leads(name))) {
          await alarm.sleep(Math.min(FOLLOWER_MILLISECONDS, options.everySeconds * 1_000));
          continue;
        }
        const outcome = await step(abort.signal);
        failures = 0;
        if (outcome === 'idle') await alarm.sleep(options.everySeconds * 1_000);
      } catch (error) {
        if (abort.signal.aborted) break;
        failures += 1;
        const ceiling = Math.min(
          LONGEST_PAUSE_MILLISECONDS,
          FIRST_PAUSE_MILLISECONDS * 2 ** Math.min(failures, 20),
        );
        const pause = ceiling * (0.5 + Math.random() / 2);
        log.warn(
          { reason: describeError(error), failures, pauseMilliseconds: Math.round(pause) },
          'a step failed',
        );
        // Wake-ups do not cut this short: what fails is not to be called at every change.
        await sleep(pause, undefined, { signal: abort.signal }).catch(() => undefined);
      }
    }
    await leadership?.resign(name);
  }

  return {
    nudge: alarm.ring,
    async stop() {
      for (const off of unsubscribe) off();
      abort.abort(new Error('the loop is stopping'));
      alarm.ring();
      await running;
    },
  };
};
