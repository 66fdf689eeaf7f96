import { WeftError } from '@weft/kernel/errors';

/** How many copies run, altogether and for each user. */
export interface Turns {
  /** Returns the function that gives the turn back. @throws {WeftError} `unavailable`, code `too-many-copies`. */
  take(user: string): () => void;
}

export function createTurns(maximum: number, maximumPerUser: number): Turns {
  const running = new Map<string, number>();
  let all = 0;
  return {
    take(user) {
      const own = running.get(user) ?? 0;
      if (all >= maximum || own >= maximumPerUser) {
        const whose = own >= maximumPerUser ? 'third-party copies of yours' : 'third-party copies';
        throw new WeftError('unavailable', 'too-many-copies', `Too many ${whose} are running; try again.`);
      }
      all += 1;
      running.set(user, own + 1);
      return () => {
        all -= 1;
        const left = (running.get(user) ?? 1) - 1;
        if (left === 0) running.delete(user);
        else running.set(user, left);
      };
    },
  };
}
