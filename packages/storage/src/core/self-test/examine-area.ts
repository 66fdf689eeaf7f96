import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { access, constants, link, lstat, mkdtemp, realpath, rename, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describeError } from '@weft/kernel/errors';
import type { AreaConfig } from '../../config.ts';
import { hasErrno } from '../files/file-errors.ts';
import { bad, good, note, type StorageFinding } from './finding.ts';

const GIBIBYTE = 2 ** 30;
const LITTLE_BYTES = GIBIBYTE;
const SLOW_SYNC_MILLISECONDS = 100;
const TEMPLATE = /\{(username|uid|home)\}/;

/** The folder of an area as this process sees it: room, durability, atomic names, attributes, mount points. */
export async function examineArea(area: AreaConfig): Promise<StorageFinding[]> {
  const name = `area ${area.name}`;
  if (TEMPLATE.test(area.root)) return [await examineTemplate(name, area.root)];
  let root: string;
  try {
    root = await realpath(area.root);
  } catch (error) {
    if (!hasErrno(error, 'ENOENT'))
      return [bad(name, `${area.root}: ${describeError(error)}`, 'Name a folder that can be reached.')];
    const parent = dirname(area.root);
    const writable = await access(parent, constants.W_OK | constants.X_OK).then(
      () => true,
      () => false,
    );
    return writable
      ? [good(name, `${area.root} is not there yet; it is made at the start`)]
      : [bad(name, `${area.root} is not there and cannot be made`, `Make it: mkdir -p ${area.root}.`)];
  }
  const { bavail, blocks, bsize } = await statfs(root);
  const free = bavail * bsize;
  const room = `${root}: ${(free / GIBIBYTE).toFixed(1)} of ${((blocks * bsize) / GIBIBYTE).toFixed(1)} GiB free`;
  const findings = [
    free < LITTLE_BYTES
      ? note(name, room, 'Make room; uploads are refused with 507 when it ends.')
      : good(name, room),
  ];
  const inside = mountPointsBelow(root);
  if (inside.length > 0)
    findings.push(
      note(
        `${name}: mounts`,
        `${inside.join(', ')}: nothing can be written there`,
        'Give each file system an area of its own.',
      ),
    );
  if (!area.read_only) findings.push(...(await tryWriting(name, root)));
  return findings;
}

/** What is put in is known only when somebody comes: the folder before it can be looked at. */
async function examineTemplate(name: string, root: string): Promise<StorageFinding> {
  const fixed = dirname(`${root.slice(0, root.search(TEMPLATE))}x`);
  if (root.startsWith('{home}')) return good(name, `${root}: below the home of each user; see --account`);
  const there = await lstat(fixed).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  return there
    ? good(name, `${root}: ${fixed} is there; see --account for a user's own part`)
    : bad(name, `${root}: ${fixed} is not there`, `Make it, or mount it: ${fixed}.`);
}

/** Does once what every upload does. */
async function tryWriting(name: string, root: string): Promise<StorageFinding[]> {
  let folder: string;
  try {
    folder = await mkdtemp(join(root, '.weft-staging-test-'));
  } catch (error) {
    const mend = 'Give the folder to the account of the service, or set read_only.';
    return [bad(`${name}: write`, describeError(error), mend)];
  }
  const findings: StorageFinding[] = [];
  const temporary = join(folder, 'a');
  const target = join(root, `.weft-staging-test-${randomBytes(6).toString('hex')}`);
  try {
    const descriptor = openSync(temporary, 'wx', 0o600);
    const startedAt = performance.now();
    writeSync(descriptor, 'weft');
    fsyncSync(descriptor);
    closeSync(descriptor);
    const milliseconds = performance.now() - startedAt;
    const took = `fsync of a small file took ${milliseconds.toFixed(1)} ms`;
    findings.push(
      milliseconds < SLOW_SYNC_MILLISECONDS
        ? good(`${name}: fsync`, took)
        : note(
            `${name}: fsync`,
            took,
            'Each upload waits for it; scratch areas can do without (durability: none).',
          ),
    );
    await link(temporary, target);
    await rm(target);
    await rename(temporary, target);
    findings.push(good(`${name}: names`, 'rename and link are atomic within the area'));
    findings.push(await tryAttribute(`${name}: attributes`, target));
  } catch (error) {
    findings.push(
      bad(
        `${name}: names`,
        describeError(error),
        'Uploads need rename and link from the staging folder into the area.',
      ),
    );
  } finally {
    await rm(target, { force: true });
    await rm(folder, { recursive: true, force: true });
  }
  return findings;
}

/** Ours lie in the database; other services that run beside this one keep checksums in attributes. */
async function tryAttribute(name: string, file: string): Promise<StorageFinding> {
  const nothingLost = 'Nothing to do: checksums are kept in the database.';
  try {
    const { default: koffi } = await import('koffi');
    const set = koffi
      .load('libc.so.6')
      .func('int setxattr(const char *, const char *, const char *, size_t, int)');
    const answer = Number(set(file, 'user.weft.test', 'x', 1, 0));
    return answer === 0
      ? good(name, 'extended attributes can be written (they are not needed)')
      : note(name, 'the file system takes no extended attributes', nothingLost);
  } catch {
    return note(name, 'extended attributes cannot be tried without the optional package koffi', nothingLost);
  }
}

/** Field 5 of /proc/self/mountinfo: mount points, blanks written as \040. */
function mountPointsBelow(root: string): string[] {
  if (process.platform !== 'linux') return [];
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\040/g, ' '))
    .filter((point) => point.startsWith(`${root === '/' ? '' : root}/`) && root !== '/');
}
