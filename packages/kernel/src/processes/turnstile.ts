import type { Turn } from './messages.ts';

/** Counts what is in use under keys, for whoever holds it. */
export interface Turnstile {
  /**
   * Takes one turn under each key, or none. `told` is called once: without a word when they are taken, with the key that is
   * used up when they are not; with `wait` as soon as they are free, in the order of asking.
   */
  take(
    holder: string,
    id: number,
    turns: readonly Turn[],
    wait: boolean,
    told: (full?: string) => void,
  ): void;
  giveBack(holder: string, id: number): void;
  /** A holder that is gone gives everything back. */
  forget(holder: string): void;
}

interface Waiting {
  readonly holder: string;
  readonly id: number;
  readonly turns: readonly Turn[];
  readonly told: (full?: string) => void;
}

export function createTurnstile(): Turnstile {
  const used = new Map<string, number>();
  const held = new Map<string, Map<number, readonly Turn[]>>();
  let waiting: Waiting[] = [];

  const fullOf = (turns: readonly Turn[]) =>
    turns.find(({ key, maximum }) => (used.get(key) ?? 0) >= maximum)?.key;

  function grant({ holder, id, turns, told }: Waiting): void {
    for (const { key } of turns) used.set(key, (used.get(key) ?? 0) + 1);
    const own = held.get(holder) ?? new Map<number, readonly Turn[]>();
    own.set(id, turns);
    held.set(holder, own);
    told();
  }

  function release(turns: readonly Turn[]): void {
    for (const { key } of turns) {
      const left = (used.get(key) ?? 1) - 1;
      if (left > 0) used.set(key, left);
      else used.delete(key);
    }
  }

  function serveWaiting(): void {
    const candidates = waiting;
    waiting = [];
    for (const one of candidates) {
      if (fullOf(one.turns) === undefined) grant(one);
      else waiting.push(one);
    }
  }

  return {
    take(holder, id, turns, wait, told) {
      const asked = { holder, id, turns, told };
      const full = fullOf(turns);
      if (full === undefined) grant(asked);
      else if (wait) waiting.push(asked);
      else told(full);
    },
    giveBack(holder, id) {
      release(held.get(holder)?.get(id) ?? []);
      held.get(holder)?.delete(id);
      serveWaiting();
    },
    forget(holder) {
      waiting = waiting.filter((one) => one.holder !== holder);
      for (const turns of held.get(holder)?.values() ?? []) release(turns);
      held.delete(holder);
      serveWaiting();
    },
  };
}
