import { createStorageClient, type StorageClient } from '@weft/storage/client';
import { checkForeignTokenRefused } from '../foreign-token.ts';
import { inParallel } from '../in-parallel.ts';
import type { Scene, SceneFile } from '../scene.ts';
import { type Step, StepFailure } from '../tour.ts';

/** The observatory's robot stores the files; what is there already, with the right checksum, stays. */
export async function uploadObservations(
  { instance, files, history, live }: Scene,
  step: Step,
): Promise<void> {
  const { storage: url } = instance.site('observatory');
  await instance.requireComponent('storage', url);
  const storage = createStorageClient({ url, fetch, token: instance.tokens('obs-bot', url) });

  let stored = 0;
  await inParallel(8, files, async (file) => {
    const there = await storage.head(file.path);
    if (there !== undefined && there.adler32 !== file.adler32) {
      throw new StepFailure(`${file.path} is there with adler32 ${there.adler32}, not ${file.adler32}`);
    }
    if (there !== undefined) return;
    await storage.put(file.path, new Uint8Array(file.bytes), { adler32: file.adler32, overwrite: false });
    stored++;
  });
  const bytes = history.files.reduce((sum, file) => sum + file.bytes.length, 0);
  step.note(`${stored} files stored, ${files.length - stored} were there`);
  step.check(
    `${history.files.length} history files and ${live.files.length} arriving at the observatory`,
    history.files.length === 116 && bytes === 2_025_836,
    `${bytes.toLocaleString('en')} bytes of history`,
  );
  await checkStored(
    storage,
    history.files.find(({ name }) => name.includes('1934')),
    'f0be1225',
    step,
  );
  await checkStored(storage, live.files[0], 'f5674d0b', step);
  await checkForeignTokenRefused(step, instance, 'storage', `${url}${files[0]?.path}`);
}

/** What HEAD, PROPFIND and a range say about one file. */
async function checkStored(
  storage: StorageClient,
  file: SceneFile | undefined,
  checksum: string,
  step: Step,
): Promise<void> {
  if (file === undefined) throw new StepFailure('a file of the example is missing');
  step.equal(`HEAD ${file.name}: adler32`, (await storage.head(file.path))?.adler32, checksum);
  const [listed] = await storage.propfind(file.path, 0);
  step.equal(`PROPFIND ${file.name}: bytes`, listed?.sizeBytes, file.bytes.length);
  const part = await storage.get(file.path, { range: [0, 9] });
  step.equal(`GET ${file.name}, bytes 0-9`, `${part.status} ${await part.text()}`, '206 month,0101');
}
