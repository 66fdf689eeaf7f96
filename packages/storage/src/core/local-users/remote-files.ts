import type { z } from 'zod';
import { createGatheredFile, MAXIMUM_GATHERED_BYTES, type Store } from '../files/gathered-file.ts';
import { viewEntries } from '../files/packed-entries.ts';
import type { AreaFiles, FileFacts, OpenFile, StagedFile } from '../files/types.ts';
import { askInAdvance } from '../in-advance.ts';
import { results, toError } from './file-answers.ts';
import type { FileCall } from './file-calls.ts';

/** Batches of a listing that are asked for before they are wanted. */
const READ_AHEAD = 3;

/** Asks a worker; the answer is checked against `schema`. */
export interface FileCaller {
  call<Schema extends z.ZodType>(
    request: FileCall,
    schema: Schema,
    body?: Uint8Array,
  ): Promise<{ result: z.output<Schema>; body: Buffer }>;
  /**
   * A descriptor of this process for what the worker has open, so that content need not pass through the worker; nothing
   * where the system does not offer it.
   */
  adopt(descriptor: number, facts: FileFacts): OpenDescriptor | undefined;
}

export interface OpenDescriptor {
  readonly read: OpenFile['read'];
  close(): Promise<void>;
}

/** The files of one area as a worker sees them, that runs as their user. */
export function remoteFiles(worker: FileCaller, area: string): AreaFiles {
  const ask = async <Schema extends z.ZodType>(request: FileCall, schema: Schema) =>
    (await worker.call(request, schema)).result;

  return {
    stat: (path) => ask({ call: 'stat', area, path }, results.facts),
    lookup: async (path) =>
      (await ask({ call: 'lookup', area, path }, results.facts.nullable())) ?? undefined,
    open: async (path) => {
      const { handle, descriptor, facts } = await ask({ call: 'open', area, path }, results.openFile);
      return openFile(worker, handle, facts, worker.adopt(descriptor, facts));
    },
    async *list(path) {
      const { handle } = await ask({ call: 'list', area, path }, results.handle);
      try {
        yield* askInAdvance(async () => {
          const { result, body } = await worker.call({ call: 'next', listing: handle }, results.batch);
          return result === null ? undefined : viewEntries(body, result.count);
        }, READ_AHEAD);
      } finally {
        await ask({ call: 'end', listing: handle }, results.nothing);
      }
    },
    async stage(expectedBytes) {
      const stage = async () => {
        const { handle } = await ask({ call: 'stage', area }, results.handle);
        return stagedFile(worker, handle);
      };
      if (expectedBytes === undefined || expectedBytes > MAXIMUM_GATHERED_BYTES) return stage();
      const store: Store = async (path, content, { replace, modified }) => {
        const times = modified ? { modified: modified.getTime() } : {};
        const request: FileCall = { call: 'store', area, path, replace, ...times };
        return (await worker.call(request, results.facts, content)).result;
      };
      return createGatheredFile({ stage, store });
    },
    makeCollection: async (path) => {
      await ask({ call: 'makeCollection', area, path }, results.nothing);
    },
    makeCollections: (path) => ask({ call: 'makeCollections', area, path }, results.madeFor(path)),
    remove: async (path) => {
      const failures = await ask({ call: 'remove', area, path }, results.failuresBelow(path));
      return failures.map(({ path: at, failure, removed = [] }) => ({
        path: at,
        error: toError(failure),
        removed,
      }));
    },
    move: async (from, to, { replace }) => {
      await ask({ call: 'move', area, from, to, replace }, results.nothing);
    },
    copy: async (from, to, { replace, shallow }) => {
      await ask({ call: 'copy', area, from, to, replace, shallow }, results.nothing);
    },
    setModified: (path, modified) =>
      ask({ call: 'setModified', area, path, modified: modified.getTime() }, results.facts),
    removeEmptyCollection: (path) => ask({ call: 'removeEmptyCollection', area, path }, results.yes),
    permissions: (path) => ask({ call: 'permissions', area, path }, results.permissions),
    space: () => ask({ call: 'space', area }, results.space),
    // A worker sweeps its staging folders when it starts.
    sweep: () => Promise.resolve(0),
    close: () => Promise.resolve(),
  };
}

function openFile(
  worker: FileCaller,
  file: number,
  facts: OpenFile['facts'],
  adopted: OpenDescriptor | undefined,
): OpenFile {
  return {
    facts,
    read: adopted
      ? adopted.read
      : async (buffer, position) => {
          const request: FileCall = { call: 'read', file, bytes: buffer.length, position };
          const { body } = await worker.call(request, results.nothing);
          buffer.set(body);
          return body.length;
        },
    refresh: async () => (await worker.call({ call: 'refresh', file }, results.facts)).result,
    close: async () => {
      await adopted?.close();
      await worker.call({ call: 'close', file }, results.nothing);
    },
  };
}

function stagedFile(worker: FileCaller, staged: number): StagedFile {
  return {
    write: async (buffer, position) => {
      await worker.call({ call: 'write', staged, position }, results.nothing, buffer);
    },
    commit: async (path, { replace, modified }) => {
      const request: FileCall = {
        call: 'commit',
        staged,
        path,
        replace,
        ...(modified ? { modified: modified.getTime() } : {}),
      };
      return (await worker.call(request, results.facts)).result;
    },
    writeInto: async (path, position) =>
      (await worker.call({ call: 'writeInto', staged, path, position }, results.facts)).result,
    discard: async () => {
      await worker.call({ call: 'discard', staged }, results.nothing);
    },
  };
}
