import { once } from 'node:events';
import {
  accessSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

const ENTRIES = 20_000;
const PATIENCE = { timeout: 60_000, interval: 20 };

let site: TestSite;
let door: TestDoor;
let root: string;
let folder: string;

beforeAll(async () => {
  root = mkdtempSync(join(memoryFolder(), 'weft-huge-'));
  folder = join(root, 'huge');
  mkdirSync(folder);
  // Many names of one file: quick to make.
  writeFileSync(join(folder, 'entry-0'), 'x');
  for (let index = 1; index < ENTRIES; index++)
    linkSync(join(folder, 'entry-0'), join(folder, `entry-${index}`));
  site = await startTestSite();
  door = await site.startDoor('huge', { areas: [{ name: 'main', root }] });
});
afterAll(async () => {
  await site.stop();
  rmSync(root, { recursive: true, force: true });
});

function memoryFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

const PROPFIND = { headers: { depth: '1' } };
const names = (text: string) =>
  [...text.matchAll(/<d:href>\/huge\/([^<]+)<\/d:href>/g)].map(([, name]) => name);

it('a folder with many thousands of files is listed whole, each file once', async () => {
  const { status, text } = await door.call('PROPFIND', '/huge/', PROPFIND);
  expect(status).toBe(207);
  expect(new Set(names(text)).size).toBe(ENTRIES);
  expect(names(text)).toHaveLength(ENTRIES);
  expect(text.match(/<d:getcontentlength>1<\/d:getcontentlength>/g)).toHaveLength(ENTRIES);
  expect(text.endsWith('</d:response>\n</d:multistatus>\n')).toBe(true);
});

it('so it is as a page for people, and as JSON', async () => {
  const page = await door.call('GET', '/huge/');
  expect(page.text.match(/<tr><td>/g)).toHaveLength(ENTRIES);
  const json = await door.call('GET', '/huge/', { headers: { accept: 'application/json' } });
  const { entries } = JSON.parse(json.text);
  expect(new Set(entries.map(({ name }: { name: string }) => name)).size).toBe(ENTRIES);
});

/** Begins a listing and reads nothing of it. */
async function begin(): Promise<{ response: IncomingMessage; leave(): void }> {
  const request = httpsRequest(`${door.url}/huge/`, {
    ca: site.authority.certificate,
    agent: false,
    method: 'PROPFIND',
    headers: { depth: '1', authorization: `Bearer ${await door.token('storage.read:/')}` },
  });
  request.end();
  const [response] = await once(request, 'response');
  request.on('error', () => undefined);
  return { response, leave: () => request.destroy() };
}

/** Where listings of the folder stand that are open in this process. */
function positions(): number[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      if (readlinkSync(`/proc/self/fd/${descriptor}`) !== folder) return [];
      const information = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8');
      const [, flags = '0'] = /^flags:\s+(\d+)$/m.exec(information) ?? [];
      const [, position] = /^pos:\s+(\d+)$/m.exec(information) ?? [];
      // Descriptors that only stand for the folder stay open.
      return Number.parseInt(flags, 8) & 0o10000000 ? [] : [Number(position)];
    } catch {
      return [];
    }
  });
}

/** Until `look` gives the same twice, a while apart. */
async function settled(look: () => string): Promise<string> {
  for (let before = look(); ; before = look()) {
    await sleep(200);
    if (look() === before) return before;
  }
}

it.skipIf(process.platform !== 'linux')('a client that does not read makes the listing wait', async () => {
  const { response } = await begin();
  await settled(() => positions().join());
  // Neither at its end, nor given up.
  expect(positions()).toHaveLength(1);
  let text = '';
  for await (const chunk of response) text += chunk;
  expect(names(text)).toHaveLength(ENTRIES);
  await vi.waitFor(() => expect(positions()).toEqual([]), PATIENCE);
});

it.skipIf(process.platform !== 'linux')('a client that goes away ends the listing', async () => {
  const { leave } = await begin();
  await settled(() => positions().join());
  expect(positions()).toHaveLength(1);
  leave();
  await vi.waitFor(() => expect(positions()).toEqual([]), PATIENCE);
  // And the next one is served.
  expect((await door.call('PROPFIND', '/huge/', { headers: { depth: '0' } })).status).toBe(207);
});
