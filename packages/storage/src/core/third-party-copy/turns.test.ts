import { expect, test } from 'vitest';
import { createTurns } from './turns.ts';

test('one user cannot take every turn, and a turn that was given back can be taken again', () => {
  const turns = createTurns(3, 2);
  const giveBack = turns.take('alice');
  turns.take('alice');
  expect(() => turns.take('alice')).toThrow(/of yours/);
  turns.take('bob');
  expect(() => turns.take('carol')).toThrow(/Too many third-party copies are running/);
  giveBack();
  turns.take('carol');
  expect(() => turns.take('alice')).toThrow(/Too many/);
});
