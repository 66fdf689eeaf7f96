import { opendir, readdir } from 'node:fs/promises';
import { nameOfBytes } from '../raw-names.ts';

/** What Node gives in place of bytes that are not UTF-8. */
const REPLACEMENT = '\ufffd';

/** Whether Node has put something in place of some bytes of a name. */
export function isReplaced(name: string): boolean {
  return name.includes(REPLACEMENT);
}

/** Does something with a prefix that stands for the directory as long as it takes. */
type Within = <Result>(work: (prefix: string) => Promise<Result>) => Promise<Result>;

/**
 * Names in a directory, in batches. Those that are not UTF-8 come at the end: where there are any, the directory is read
 * once more, as bytes.
 */
export async function* readNames(
  within: Within,
  batches: { first: number; others: number },
): AsyncGenerator<string[]> {
  const directory = await within((prefix) => opendir(`${prefix}/.`, { bufferSize: batches.others }));
  let batch = batches.first;
  let names: string[] = [];
  let raw = false;
  for await (const { name } of directory) {
    if (isReplaced(name)) {
      raw = true;
      continue;
    }
    names.push(name);
    if (names.length < batch) continue;
    yield names;
    names = [];
    batch = batches.others;
  }
  if (raw) names.push(...(await within(readRawNames)));
  if (names.length > 0) yield names;
}

async function readRawNames(prefix: string): Promise<string[]> {
  const names = (await readdir(`${prefix}/.`, { encoding: 'buffer' })).map(nameOfBytes);
  return names.filter((name) => !name.isWellFormed() || isReplaced(name));
}

/** All of them. */
export async function allNames(within: Within): Promise<string[]> {
  const all: string[] = [];
  for await (const names of readNames(within, { first: 128, others: 128 })) all.push(...names);
  return all;
}
