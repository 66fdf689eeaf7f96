import type { AreaFiles, OpenFile, PackedEntries, StagedFile } from '../files/types.ts';
import { type FileCall, printFacts, printFailure } from './file-calls.ts';

/** Does one call; in the worker's process. */
export type FileService = (
  request: FileCall,
  body: Uint8Array,
) => Promise<{ result: unknown; body?: Uint8Array }>;

const NOTHING = { result: null };

export function createFileService(areaOf: (name: string) => Promise<AreaFiles>): FileService {
  const files = createHandles<OpenFile>();
  const listings = createHandles<AsyncIterator<PackedEntries>>();
  const staged = createHandles<StagedFile>();

  return async (request, body) => {
    switch (request.call) {
      case 'stat':
        return { result: printFacts(await (await areaOf(request.area)).stat(request.path)) };
      case 'lookup': {
        const facts = await (await areaOf(request.area)).lookup(request.path);
        return { result: facts ? printFacts(facts) : null };
      }
      case 'removeEmptyCollection':
        return { result: await (await areaOf(request.area)).removeEmptyCollection(request.path) };
      case 'permissions':
        return { result: await (await areaOf(request.area)).permissions(request.path) };
      case 'open': {
        const file = await (await areaOf(request.area)).open(request.path);
        const { descriptor = 0 } = file;
        return { result: { handle: files.add(file), descriptor, facts: printFacts(file.facts) } };
      }
      case 'read': {
        const buffer = Buffer.allocUnsafe(request.bytes);
        const bytes = await files.get(request.file).read(buffer, request.position);
        return { result: null, body: buffer.subarray(0, bytes) };
      }
      case 'refresh':
        return { result: printFacts(await files.get(request.file).refresh()) };
      case 'close':
        await files.take(request.file).close();
        return NOTHING;
      case 'list': {
        const listing = (await areaOf(request.area)).list(request.path)[Symbol.asyncIterator]();
        return { result: { handle: listings.add(listing) } };
      }
      case 'next': {
        const { done, value } = await listings.get(request.listing).next();
        if (done) return NOTHING;
        return { result: { count: value.count }, body: value.bytes };
      }
      case 'end':
        await listings.take(request.listing).return?.();
        return NOTHING;
      case 'stage':
        return { result: { handle: staged.add(await (await areaOf(request.area)).stage()) } };
      case 'store': {
        const { path, replace, modified } = request;
        const file = await (await areaOf(request.area)).stage(body.length);
        await file.write(body, 0);
        const options = { replace, ...(modified === undefined ? {} : { modified: new Date(modified) }) };
        return { result: printFacts(await file.commit(path, options)) };
      }
      case 'write':
        await staged.get(request.staged).write(body, request.position);
        return NOTHING;
      case 'commit': {
        const { path, replace, modified } = request;
        const facts = await staged
          .take(request.staged)
          .commit(path, { replace, ...(modified === undefined ? {} : { modified: new Date(modified) }) });
        return { result: printFacts(facts) };
      }
      case 'writeInto': {
        const { path, position } = request;
        return { result: printFacts(await staged.take(request.staged).writeInto(path, position)) };
      }
      case 'discard':
        await staged.take(request.staged).discard();
        return NOTHING;
      case 'makeCollection':
        await (await areaOf(request.area)).makeCollection(request.path);
        return NOTHING;
      case 'makeCollections':
        return { result: await (await areaOf(request.area)).makeCollections(request.path) };
      case 'remove': {
        const failures = await (await areaOf(request.area)).remove(request.path);
        return {
          result: failures.map(({ path, error, removed }) => ({
            path,
            failure: printFailure(error),
            removed,
          })),
        };
      }
      case 'move':
        await (await areaOf(request.area)).move(request.from, request.to, { replace: request.replace });
        return NOTHING;
      case 'copy': {
        const { replace, shallow } = request;
        await (await areaOf(request.area)).copy(request.from, request.to, { replace, shallow });
        return NOTHING;
      }
      case 'setModified': {
        const files = await areaOf(request.area);
        return { result: printFacts(await files.setModified(request.path, new Date(request.modified))) };
      }
      case 'ping':
        return NOTHING;
      case 'space':
        return { result: await (await areaOf(request.area)).space() };
    }
  };
}

function createHandles<Thing>() {
  const open = new Map<number, Thing>();
  let last = 0;
  const get = (handle: number): Thing => {
    const thing = open.get(handle);
    if (thing === undefined) throw new Error(`Nothing is open as ${handle}.`);
    return thing;
  };
  return {
    get,
    add(thing: Thing): number {
      last += 1;
      open.set(last, thing);
      return last;
    },
    take(handle: number): Thing {
      const thing = get(handle);
      open.delete(handle);
      return thing;
    },
  };
}
