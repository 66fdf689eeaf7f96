import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestSite, type TestProcess, type TestSite, unfinished } from './start-door.ts';

let site: TestSite;
let child: TestProcess;

beforeAll(async () => {
  site = await startTestSite();
  child = await site.prepareProcess('observatory');
});
afterAll(async () => await site.stop());

const ROUNDS = Number(process.env.WEFT_CRASH_ROUNDS ?? 3);
const contentOf = (name: string) => Buffer.alloc(200_000 + (name.length % 7), name);
const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

it('a killed service has lost nothing that it acknowledged and shows nothing that is not whole', async () => {
  const acknowledged = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    await child.start();
    const { door } = child;
    expect(unfinished(door.root)).toEqual([]);
    const before = acknowledged.size;
    let stop = false;
    const uploads = Array.from({ length: 8 }, async (_, lane) => {
      for (let index = 0; !stop; index++) {
        const name = `r${round}-${lane}-${index}`;
        try {
          const answer = await door.call('PUT', `/f/${name}`, { body: contentOf(name) });
          if (answer.status === 201) acknowledged.add(name);
        } catch {
          return;
        }
      }
    });
    await expect.poll(() => acknowledged.size).toBeGreaterThan(before);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
    await child.kill();
    stop = true;
    await Promise.all(uploads);
  }
  await child.start();
  const { door } = child;
  expect(unfinished(door.root)).toEqual([]);
  const present = readdirSync(join(door.root, 'f'));
  expect(acknowledged.size).toBeGreaterThan(0);
  expect([...acknowledged].filter((name) => !present.includes(name))).toEqual([]);
  for (const name of present) {
    expect(hash(readFileSync(join(door.root, 'f', name))), name).toBe(hash(contentOf(name)));
  }
  const [one] = acknowledged;
  expect((await door.call('HEAD', `/f/${one}`)).headers.digest).toMatch(/^adler32=[0-9a-f]{8}$/);
  await child.kill();
});
