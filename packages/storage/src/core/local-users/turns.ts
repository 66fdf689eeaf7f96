import { WeftError } from '@weft/kernel/errors';

export interface Turns {
  /** Runs `work` when fewer than the maximum run. @throws {WeftError} `unavailable` when its turn does not come in time. */
  take<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** Lets so many run at a time; the others wait in the order in which they came. */
export function createTurns(maximum: number, waitMilliseconds: number): Turns {
  const waiting: (() => void)[] = [];
  let running = 0;

  function turn(): Promise<void> {
    if (running < maximum) {
      running += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const go = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(go), 1);
        reject(new WeftError('unavailable', 'too-busy', 'Too much begins at once; try again soon.'));
      }, waitMilliseconds);
      waiting.push(go);
    });
  }

  return {
    async take(work) {
      await turn();
      try {
        return await work();
      } finally {
        // Whoever waits takes over the place.
        const next = waiting.shift();
        if (next) next();
        else running -= 1;
      }
    },
  };
}
