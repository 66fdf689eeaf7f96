import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestProcess, type TestSite, unfinished } from './start-door.ts';

let site: TestSite;
let child: TestProcess;

beforeAll(async () => {
  site = await startTestSite();
  child = await site.prepareProcess('observatory');
});
afterAll(async () => await site.stop());

const ROUNDS = Number(process.env.WEFT_CRASH_ROUNDS ?? 2);
const LANES = 8;

interface Told {
  type: string;
  data: { path: string; from?: string };
}

/** One lane makes, moves, copies and removes names of its own, each after the last was acknowledged. */
async function change(
  door: TestDoor,
  lane: string,
  done: () => boolean,
  acknowledge: () => void,
): Promise<void> {
  for (let index = 0; !done(); index++) {
    const own = `/${lane}/${index}`;
    const steps: [method: string, path: string, destination?: string][] = [
      ['PUT', `${own}/new/a`],
      ['MKCOL', `${own}/made/`],
      ['MOVE', `${own}/new/a`, `${own}/made/b`],
      ['COPY', `${own}/made/b`, `${own}/c`],
      ['MOVE', `${own}/made/`, `${own}/moved/`],
      ['DELETE', `${own}/c`],
      ['COPY', `${own}/moved/`, `${own}/tree/`],
      ['DELETE', `${own}/new/`],
    ];
    for (const [method, path, destination] of steps) {
      try {
        const answer = await door.call(method, path, {
          ...(method === 'PUT' ? { body: path } : {}),
          headers: destination === undefined ? {} : { destination },
        });
        if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
        acknowledge();
      } catch (error) {
        if (done()) return;
        throw error;
      }
    }
  }
}

/** Names that the events speak of as being there, and those events that contradict the ones before them. */
function replay(events: readonly Told[]): { there: string[]; contradictions: string[] } {
  const there = new Set<string>();
  const contradictions: string[] = [];
  const below = (path: string) => [...there].filter((one) => one === path || one.startsWith(`${path}/`));
  for (const { type, data } of events) {
    const { path, from = '' } = data;
    if (type === 'file.created') {
      if (there.has(path)) contradictions.push(`${path} created twice`);
      there.add(path);
    } else if (type === 'file.deleted') {
      if (!there.has(path)) contradictions.push(`${path} deleted, was not there`);
      for (const one of below(path)) there.delete(one);
    } else if (type === 'file.moved') {
      if (!there.has(from)) contradictions.push(`${from} moved, was not there`);
      for (const one of below(from)) {
        there.delete(one);
        there.add(path + one.slice(from.length));
      }
    } else if (!there.has(path)) contradictions.push(`${path} closed, was not there`);
  }
  return { there: [...there].toSorted(), contradictions };
}

function onDisk(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) => `/${relative(root, join(entry.parentPath, entry.name))}`)
    .filter((path) => !path.startsWith('/.weft-staging'))
    .toSorted();
}

it('a killed service tells, sooner or later and once, of every change that it has made', async () => {
  let changes = 0;
  let kills = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await child.start();
    let stop = false;
    const { door } = child;
    const before = changes;
    const lanes = Array.from({ length: LANES }, (_, lane) =>
      change(
        door,
        `${round}-${lane}`,
        () => stop,
        () => {
          changes += 1;
        },
      ),
    );
    await expect.poll(() => changes - before).toBeGreaterThan(2 * LANES);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
    stop = true;
    await child.kill();
    kills += 1;
    await Promise.all(lanes);
  }
  await child.start();
  const { door } = child;
  expect(unfinished(door.root)).toEqual([]);
  const { rows } =
    await sql<Told>`select type, data from kernel.outbox where component = 'storage' order by id`.execute(
      site.database.database.sql,
    );
  const { there, contradictions } = replay(rows);
  expect(contradictions).toEqual([]);
  // A tree that was copied is told of by its root alone.
  const copied = (path: string) => /\/tree\//.test(path);
  expect(there.filter((path) => !copied(path))).toEqual(onDisk(door.root).filter((path) => !copied(path)));
  if (process.env.WEFT_CRASH_ROUNDS) process.stdout.write(`${kills} kills, ${changes} changes\n`);
  await child.kill();
}, 300_000);
