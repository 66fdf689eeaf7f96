import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isFinal, type PodState, TRANSITIONS } from './pod-states.ts';

const STATES: PodState[] = [];
for (const state of Object.keys(TRANSITIONS)) if (isPodState(state)) STATES.push(state);

function isPodState(state: string): state is PodState {
  return state in TRANSITIONS;
}

test('deletion wins from every state but deletion itself', () => {
  for (const state of STATES) {
    expect(TRANSITIONS[state].includes('deleting')).toBe(state !== 'deleting' && state !== 'deleted');
  }
});

test('however a pod moves, it comes to an end and never runs twice', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { minLength: 20, maxLength: 40 }), (choices) => {
      let state: PodState = 'accepted';
      const path: PodState[] = [state];
      for (const choice of choices) {
        const next: readonly PodState[] = TRANSITIONS[state];
        const chosen: PodState | undefined = next[choice % Math.max(1, next.length)];
        if (chosen === undefined) break;
        state = chosen;
        path.push(state);
      }
      expect(isFinal(state)).toBe(true);
      expect(new Set(path).size).toBe(path.length);
    }),
  );
});
