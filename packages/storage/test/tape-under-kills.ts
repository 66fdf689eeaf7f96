import { randomBytes, randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, startTestSite, type TestDoor, type TestProcess, unfinished } from './start-door.ts';

const ALL = 'storage.read:/ storage.modify:/ storage.stage:/';
const DEADLINE_MILLISECONDS = 120_000;

/** What went wrong: nothing, when all is well. */
export interface TapeDamage {
  /** Answers to a GET that were neither the content nor the word that it is on tape. */
  readonly wrong: readonly string[];
  /** Files that could not be brought back whole at the end. */
  readonly lost: readonly string[];
  /** What was left half written in the area and in the library. */
  readonly leftovers: readonly string[];
  /** Answers by what they were, to see that both kinds came. */
  readonly seen: Readonly<Record<'content' | 'on tape' | 'no answer', number>>;
}

/**
 * One process or two serve an instance with tape, and are killed (-9) while files are archived, taken from disk, asked for and
 * released. Whoever reads meanwhile gets the content or is told that it is on tape, never a stub.
 */
export async function killDuringTape(options: {
  processes: 1 | 2;
  files: number;
  kills: number;
}): Promise<TapeDamage> {
  const site = await startTestSite();
  try {
    const root = join(site.folder, 'tape');
    const library = join(site.folder, 'library');
    const config = {
      site: 'hpc',
      areas: [{ name: 'tape', root, tape: { archive_after_seconds: 0, evict_after_seconds: 0 } }],
      tape: { library, lease_seconds: 1, mount_seconds: 0.02 },
    };
    const names = ['one', 'two'].slice(0, options.processes);
    const processes = await Promise.all(names.map((name) => site.prepareProcess(name, config)));
    await Promise.all(processes.map((process) => process.start()));
    const contents = new Map<string, Buffer>();
    for (let index = 0; index < options.files; index++) {
      const content = randomBytes(randomInt(1, 200_000));
      contents.set(`/file-${index}`, content);
      const answer = await firstOf(processes).door.call('PUT', `/file-${index}`, { body: content });
      if (answer.status !== 201) throw new Error(`an upload was answered with ${answer.status}`);
    }
    const wrong: string[] = [];
    const seen = { content: 0, 'on tape': 0, 'no answer': 0 };
    const paths = [...contents.keys()];
    let over = false;
    const reading = read(processes, contents, () => over, { wrong, seen });
    const staging = stageAndRelease(processes, paths, () => over);
    for (let kill = 0; kill < options.kills; kill++) {
      await sleep(randomInt(50, 400));
      const victim = processes[kill % processes.length];
      await victim?.kill();
      await victim?.start();
    }
    over = true;
    await Promise.all([reading, staging]);

    const { door } = firstOf(processes);
    const lost = await bringBack(door, contents);
    await Promise.all(processes.map((process) => process.kill()));
    await Promise.all(processes.map((process) => process.start()));
    return {
      wrong,
      lost,
      seen,
      leftovers: [
        ...unfinished(root),
        ...readdirSync(join(library, 'hpc')).filter((name) => name.endsWith('.part')),
      ],
    };
  } finally {
    await site.stop();
  }
}

function firstOf(processes: readonly TestProcess[]): TestProcess {
  const [first] = processes;
  if (!first) throw new Error('there is no process');
  return first;
}

function anyOf<Item>(items: readonly Item[]): Item {
  const item = items[randomInt(items.length)];
  if (item === undefined) throw new Error('there is none');
  return item;
}

/** An answer, or nothing when the process was killed. */
async function tryCall(door: TestDoor, ...call: Parameters<TestDoor['call']>): Promise<Answer | undefined> {
  try {
    return await door.call(...call);
  } catch {
    return undefined;
  }
}

async function read(
  processes: readonly TestProcess[],
  contents: ReadonlyMap<string, Buffer>,
  isOver: () => boolean,
  { wrong, seen }: { wrong: string[]; seen: Record<'content' | 'on tape' | 'no answer', number> },
): Promise<void> {
  while (!isOver()) {
    const path = anyOf([...contents.keys()]);
    const answer = await tryCall(anyOf(processes).door, 'GET', path);
    if (!answer || answer.status === 503) seen['no answer'] += 1;
    else if (answer.status === 200 && contents.get(path)?.equals(answer.body)) seen.content += 1;
    else if (answer.status === 403 && answer.text.includes('on tape')) seen['on tape'] += 1;
    else wrong.push(`${path}: ${answer.status} with ${answer.body.length} bytes`);
    await sleep(5);
  }
}

async function stageAndRelease(
  processes: readonly TestProcess[],
  paths: readonly string[],
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    const { door } = anyOf(processes);
    const token = await door.token(ALL);
    const some = paths.filter(() => randomInt(3) === 0);
    if (some.length > 0) {
      const body = JSON.stringify({ files: some.map((path) => ({ path, diskLifetime: 'PT1M' })) });
      await tryCall(door, 'POST', '/api/v1/stage', { token, body });
      await sleep(randomInt(100, 500));
      const released = JSON.stringify({ paths: some });
      await tryCall(door, 'POST', '/api/v1/release/gfal2-placeholder-id', { token, body: released });
    }
  }
}

/** Stages everything, and says what did not come back as it was. */
async function bringBack(door: TestDoor, contents: ReadonlyMap<string, Buffer>): Promise<string[]> {
  const token = await door.token(ALL);
  const paths = [...contents.keys()];
  const body = JSON.stringify({ files: paths.map((path) => ({ path })) });
  const asked = await door.call('POST', '/api/v1/stage', { token, body });
  const { requestId } = JSON.parse(asked.text);
  const deadline = Date.now() + DEADLINE_MILLISECONDS;
  for (;;) {
    const { files } = JSON.parse((await door.call('GET', `/api/v1/stage/${requestId}`, { token })).text);
    if (files.every((file: { onDisk: boolean; error?: string }) => file.onDisk || file.error !== undefined))
      break;
    if (Date.now() > deadline) break;
    await sleep(100);
  }
  const lost: string[] = [];
  for (const path of paths) {
    const answer = await door.call('GET', path);
    if (answer.status !== 200 || !contents.get(path)?.equals(answer.body))
      lost.push(`${path}: ${answer.status} ${answer.text.slice(0, 80)}`);
  }
  return lost;
}
