import { WeftError } from '@weft/kernel/errors';
import type { Area } from '../areas.ts';
import { unpackEntries } from '../files/packed-entries.ts';
import type { FileFacts } from '../files/types.ts';
import type { Segments } from '../segments.ts';
import type { Usage } from './usage.ts';

/**
 * Counts the bytes of an area anew, by owner, and puts the sums in the books. What came into being after the count had
 * begun is in the books by its upload, and therefore left out.
 */
export async function countFiles(usage: Usage, area: Area): Promise<void> {
  const { name } = area.config;
  const begun = await usage.beginCount(name);
  const began = BigInt(Date.now()) * 1_000_000n;
  const counted = await measureTree(usage, area, [], (file) => file.createdNs < began);
  // Owners that are in the books and have no file any more have used nothing.
  if (area.account) counted.set(area.account.name, counted.get(area.account.name) ?? 0);
  else for (const owner of ['', ...begun.bytes.keys()]) counted.set(owner, counted.get(owner) ?? 0);
  await usage.finishCount(name, begun, counted);
}

/** Bytes of the files below `path`, by owner; in multi-user mode those of the account only. */
export async function measureTree(
  usage: Usage,
  area: Area,
  path: Segments,
  counts: (file: FileFacts) => boolean = () => true,
): Promise<Map<string, number>> {
  const { account, config } = area;
  const sums = new Map<string, number>();
  const byUploader = !account && config.quota?.user_bytes !== undefined;
  for await (const batch of filesBelow(area, path)) {
    const files = batch.filter((file) => (!account || file.uid === account.uid) && counts(file));
    const owners = byUploader ? await usage.ownersOf(config.name, files) : [];
    for (const [index, file] of files.entries()) {
      const owner = account?.name ?? owners[index] ?? '';
      sums.set(owner, (sums.get(owner) ?? 0) + file.size);
    }
  }
  return sums;
}

/** Folders that vanish or may not be read are passed over. */
export async function* filesBelow({ files }: Area, path: Segments): AsyncGenerator<FileFacts[]> {
  const folders: Segments[] = [path];
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    try {
      for await (const batch of files.list(folder)) {
        const entries = unpackEntries(batch);
        for (const { name, facts } of entries)
          if (facts.kind === 'collection') folders.push([...folder, name]);
        yield entries.filter(({ facts }) => facts.kind === 'file').map(({ facts }) => facts);
      }
    } catch (error) {
      if (!(error instanceof WeftError && (error.kind === 'not-found' || error.kind === 'forbidden')))
        throw error;
    }
  }
}
