import { expect, it } from 'vitest';
import { askInAdvance, workInAdvance } from './in-advance.ts';

it('asks ahead, but never further than it may, and gives the answers in order', async () => {
  let asked = 0;
  const seen: number[] = [];
  for await (const answer of askInAdvance(async () => (asked < 10 ? ++asked : undefined), 3)) {
    seen.push(answer);
    expect(asked - seen.length).toBeLessThanOrEqual(2);
  }
  expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

it('gives what came before a failure, and then the failure', async () => {
  let asked = 0;
  const ask = async () => {
    asked += 1;
    if (asked === 2) throw new Error('broken');
    return asked;
  };
  const answers = askInAdvance(ask, 3);
  expect(await answers.next()).toEqual({ done: false, value: 1 });
  await expect(answers.next()).rejects.toThrow('broken');
});

it('awaits what is under way before it lets go of the source', async () => {
  const events: string[] = [];
  async function* source() {
    try {
      for (let item = 0; ; item++) yield item;
    } finally {
      events.push('source ended');
    }
  }
  const work = async (item: number) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    events.push(`worked on ${item}`);
    return { item };
  };
  for await (const _ of workInAdvance(source(), work, 2)) break;
  expect(events).toEqual(['worked on 0', 'worked on 1', 'source ended']);
});
