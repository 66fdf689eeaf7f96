import type { AnyTx, Database } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { Area } from '../areas.ts';
import type { AreaFiles, FileFacts, StagedFile } from '../files/types.ts';
import { plainPath, type Segments } from '../segments.ts';
import { lockArea } from './area-lock.ts';
import type { TapeFiles } from './tape-files.ts';

/**
 * The files of an area with tape, as requests see them: the content of a stub cannot be read, copied or written into, and
 * names change only while the tape system is not at it.
 */
export function guardFiles(
  { name, base, files }: Area,
  { database, instance, tapeFiles }: { database: Database; instance: string; tapeFiles: TapeFiles },
): AreaFiles {
  const plain = (path: Segments) => plainPath([...base, ...path]);

  const shared = <Result>(work: (tx: AnyTx) => Promise<Result>): Promise<Result> =>
    database.transaction(async (tx) => {
      await lockArea(tx, instance, name, 'shared');
      return work(tx);
    });

  async function requireOnDisk(path: Segments, facts: FileFacts, tx?: AnyTx): Promise<void> {
    const [state] = await tapeFiles.find(name, [{ ...facts, path: plain(path) }], tx);
    if (state && !state.onDisk) throw onTape();
  }

  return {
    ...files,
    async open(path) {
      const file = await files.open(path);
      try {
        await requireOnDisk(path, file.facts);
        return file;
      } catch (error) {
        await file.close();
        throw error;
      }
    },
    async stage(expectedBytes): Promise<StagedFile> {
      const staged = await files.stage(expectedBytes);
      /** What ends it runs under the lock; when it does not come to that, the file goes. */
      const finish = async (check: (tx: AnyTx) => Promise<void>, end: () => Promise<FileFacts>) => {
        let begun = false;
        try {
          return await shared(async (tx) => {
            await check(tx);
            begun = true;
            return end();
          });
        } finally {
          if (!begun) await staged.discard();
        }
      };
      return {
        ...staged,
        // It would not wait for the tape system.
        commitNoted: undefined,
        commit: (path, options) =>
          finish(
            () => Promise.resolve(),
            () => staged.commit(path, options),
          ),
        writeInto: (path, position) =>
          finish(
            async (tx) => requireOnDisk(path, await files.stat(path), tx),
            () => staged.writeInto(path, position),
          ),
      };
    },
    removeNoted: undefined,
    remove: (path) => shared(() => files.remove(path)),
    move: (from, to, options) => shared(() => files.move(from, to, options)),
    async copy(from, to, options) {
      if (await tapeFiles.hasStubs(name, plain(from))) throw onTape();
      await shared(() => files.copy(from, to, options));
    },
  };
}

/**
 * Not 409: gfal2 would take it for a file that is in its way, and try without end. 403 is definite to every client, and
 * what dCache says to those who may not stage.
 */
function onTape(): WeftError {
  return new WeftError(
    'forbidden',
    'nearline',
    'The content is on tape: stage it first (POST to …/stage, see /.well-known/wlcg-tape-rest-api).',
  );
}
