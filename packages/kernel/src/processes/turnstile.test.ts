import { expect, test, vi } from 'vitest';
import { createTurnstile } from './turnstile.ts';

const mine = [
  { key: 'alice', maximum: 2 },
  { key: 'all', maximum: 3 },
];
const theirs = [
  { key: 'bob', maximum: 2 },
  { key: 'all', maximum: 3 },
];

test('one user cannot take every turn, and one that was given back can be taken again', () => {
  const turnstile = createTurnstile();
  const ask = (id: number, turns: typeof mine) => {
    const told = vi.fn();
    turnstile.take('one', id, turns, false, told);
    return told.mock.calls[0];
  };
  expect(ask(1, mine)).toEqual([]);
  expect(ask(2, mine)).toEqual([]);
  expect(ask(3, mine)).toEqual(['alice']);
  expect(ask(4, theirs)).toEqual([]);
  expect(ask(5, theirs)).toEqual(['all']);
  turnstile.giveBack('one', 1);
  expect(ask(6, theirs)).toEqual([]);
  expect(ask(7, mine)).toEqual(['all']);
});

test('a holder that is gone gives back what it had, and does not wait any more', () => {
  const turnstile = createTurnstile();
  const lock = [{ key: 'file', maximum: 1 }];
  const told: string[] = [];
  for (const holder of ['one', 'two', 'three'])
    turnstile.take(holder, 1, lock, true, () => told.push(holder));
  expect(told).toEqual(['one']);
  turnstile.forget('two');
  turnstile.forget('one');
  expect(told).toEqual(['one', 'three']);
});
