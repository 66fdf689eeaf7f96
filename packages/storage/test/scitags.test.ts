import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSciTag } from '../src/core/third-party-copy/flow-marks.ts';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;
let other: TestDoor;
let pipe: number;

beforeAll(async () => {
  site = await startTestSite();
  const path = join(site.folder, 'flowd');
  execFileSync('mkfifo', [path]);
  // As flowd opens it.
  pipe = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  door = await site.startDoor('observatory', { third_party_copy: { flowd_pipe: path } });
  other = await site.startDoor('hpc');
  await other.call('PUT', '/f', { body: 'content' });
});
afterAll(async () => {
  closeSync(pipe);
  await site.stop();
});

let heard = '';
function listen(): string[] {
  const buffer = Buffer.alloc(65_536);
  try {
    heard += buffer.toString('latin1', 0, readSync(pipe, buffer));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
  }
  return heard.split('\n').filter((line) => line !== '');
}

const copy = async (path: string, headers: Record<string, string>) => {
  heard = '';
  const token = await other.token('storage.read:/ storage.modify:/');
  const answer = await door.call('COPY', path, {
    headers: { transferheaderauthorization: `Bearer ${token}`, ...headers },
  });
  expect(answer.text).toMatch(/success/);
};

describe.skipIf(process.platform !== 'linux')('flowd', () => {
  const port = () => new URL(other.url).port;

  it('hears when the connections of a tagged copy begin and end', async () => {
    await copy('/pulled', { source: `${other.url}/f`, scitag: '2178', transferheaderscitag: '66' });
    const flow = `tcp 127\\.0\\.0\\.1 ${port()} 127\\.0\\.0\\.1 \\d+ 34 2`;
    await expect.poll(() => listen().at(-1)).toMatch(new RegExp(`^end ${flow}$`));
    expect(listen()[0]).toMatch(new RegExp(`^start ${flow}$`));
  });

  it('hears of a push the other way round', async () => {
    await copy('/pulled', { destination: `${other.url}/pushed`, transferheaderscitag: '66' });
    await expect
      .poll(() => listen().at(-1))
      .toMatch(new RegExp(`^end tcp 127\\.0\\.0\\.1 \\d+ 127\\.0\\.0\\.1 ${port()} 1 2$`));
  });

  it('hears nothing of copies without a tag, or with what is none', async () => {
    await copy('/plain', { source: `${other.url}/f` });
    await copy('/odd', { source: `${other.url}/f`, scitag: 'experiment' });
    // Whatever comes is in order: what is told of the next one is the first that is heard.
    await copy('/tagged', { source: `${other.url}/f`, scitag: '65' });
    await expect.poll(() => listen().length).toBeGreaterThan(0);
    expect(listen()[0]).toMatch(/ 1 1$/);
  });
});

it.each([
  ['65', { experiment: 1, activity: 1 }],
  ['65535', { experiment: 1023, activity: 63 }],
  ['64', undefined],
  ['65536', undefined],
  ['-66', undefined],
  ['', undefined],
])('%j is %j', (text, expected) => {
  expect(parseSciTag(text)).toEqual(expected);
});
