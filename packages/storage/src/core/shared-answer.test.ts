import { expect, it } from 'vitest';
import { createSharedAnswer } from './shared-answer.ts';

it('answers many with few questions, none of them put before its asker came', async () => {
  let clock = 0;
  let questions = 0;
  const ask = createSharedAnswer(async () => {
    questions += 1;
    const at = clock;
    await new Promise((resolve) => setTimeout(resolve, 5));
    return at;
  });
  const asked: Promise<void>[] = [];
  for (let index = 0; index < 100; index++) {
    clock += 1;
    const came = clock;
    asked.push(ask().then((at) => expect(at).toBeGreaterThanOrEqual(came)));
    if (index % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await Promise.all(asked);
  expect(questions).toBeLessThan(20);
});

it('asks again after a failure', async () => {
  let fail = true;
  const ask = createSharedAnswer(async () => {
    if (fail) throw new Error('down');
    return 'up';
  });
  await expect(ask()).rejects.toThrow('down');
  fail = false;
  expect(await ask()).toBe('up');
});
