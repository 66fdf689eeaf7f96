import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise, isDenied, mayDo } from '../core/authorise.ts';
import type { Digests } from '../core/checksums/digests.ts';
import type { Door } from '../core/door.ts';
import type { FileFacts } from '../core/files/types.ts';
import type { Change, Entry } from '../core/journal.ts';
import { isWithin, parseResourcePath, type ResourcePath } from '../core/resource-path.ts';
import { statIfThere } from '../core/stat-if-there.ts';
import { evaluateConditions } from './conditions.ts';
import { overwrites } from './copy-request.ts';
import { answer, type Exchange, type Handler, header } from './exchange.ts';
import { requireUnlocked } from './locking.ts';
import { isOwnAuthority } from './own-authority.ts';
import { thirdPartyCopy } from './third-party-copy.ts';

/** MOVE within the instance: 201 for a new name, 204 when something was replaced (Rucio takes only 201). */
export const move: Handler = async (exchange) => {
  const { door, target, caller } = exchange;
  const source = door.areas.locate(target.segments);
  const destination = door.areas.locate(localDestination(exchange).segments);
  const facts = await source.area.files.stat(source.inner);
  const existing = await checkTransfer(exchange, source, facts, destination, 'rename');
  // Whoever may only create may still give a new file its final name (profile 1.1 and later), but not take one away.
  const collection = facts.kind === 'collection';
  const what = { collection, tree: collection };
  const renamesOwn =
    !existing &&
    mayDo(caller, 'rename-to', source.path) &&
    mayDo(caller, 'rename-to', destination.path) &&
    !isDenied(caller, 'rename-from', source.path, what);
  if (!renamesOwn) authorise(caller, 'rename-from', source, what);
  if (source.area !== destination.area) {
    throw new WeftError(
      'forbidden',
      'other-area',
      'A file cannot be moved to another storage area; copy it and delete it.',
    );
  }
  await requireUnlocked(exchange, [
    { path: source.path, tree: collection, membership: true },
    { path: destination.path, tree: existing?.kind === 'collection', membership: !existing },
  ]);
  const space = existing ? await door.quotas.freed(destination, existing) : [];
  const also = [
    await door.locks.forgetting(source.path),
    await door.properties.moving(source.path, destination.path),
  ];
  await door.intents.carryOut(
    {
      kind: 'move',
      path: [...destination.path],
      from: [...source.path],
      inode: String(facts.inode),
      collection,
    },
    () => source.area.files.move(source.inner, destination.inner, { replace: overwrites(exchange.request) }),
    () => ({
      changes: [{ type: 'file.moved', path: destination.path, from: source.path, collection }],
      space,
      also,
    }),
  );
  answer(exchange, existing ? 204 : 201);
};

/** COPY: to another server as a third-party copy (brief teapot 2.5), else within the instance. */
export const copy: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  const remote = header(request, 'source') !== undefined || !isLocal(door, request);
  if (remote) return thirdPartyCopy(exchange);
  const source = door.areas.locate(target.segments);
  authorise(caller, 'read-data', source, { collection: target.collection });
  const destination = door.areas.locate(localDestination(exchange).segments);
  const facts = await source.area.files.stat(source.inner);
  const shallow = readCopyDepth(header(request, 'depth')) === 0;
  if (facts.kind === 'collection' && !shallow) authorise(caller, 'read-data', source, { tree: true });
  const existing = await checkTransfer(exchange, source, facts, destination, 'write');
  if (source.area !== destination.area) {
    throw new WeftError(
      'forbidden',
      'other-area',
      'A file cannot be copied to another storage area by the server.',
    );
  }
  await requireUnlocked(exchange, [
    { path: destination.path, tree: existing?.kind === 'collection', membership: !existing },
  ]);
  const bytes = shallow && facts.kind === 'collection' ? 0 : await door.quotas.sizeOf(source, facts);
  const claim = await door.quotas.claim(source.area, door.owner, bytes);
  const freed = existing ? await door.quotas.freed(destination, existing) : [];
  const copying = await door.properties.copying(source.path, destination.path);
  await door.intents.carryOut(
    {
      kind: 'copy',
      path: [...destination.path],
      from: [...source.path],
      ...(existing ? { replaced: String(existing.inode) } : {}),
      collection: facts.kind === 'collection',
    },
    async () => {
      const replace = overwrites(request);
      try {
        await source.area.files.copy(source.inner, destination.inner, { replace, shallow });
      } catch (error) {
        await claim.release();
        throw error;
      }
      const settle = await claim.settlement(undefined);
      const adopted = facts.kind === 'collection' ? await door.quotas.adopt(destination, door.owner) : [];
      const copied = await describeCopy(door, source, facts, destination);
      return { copied, space: [...settle(copied.facts, bytes), ...adopted, ...freed] };
    },
    ({ copied, space }) => ({
      ...entryOfCopy(destination, copied, existing !== undefined),
      space,
      also: [copying],
    }),
  );
  answer(exchange, existing ? 204 : 201);
};

/** What both ask before anything happens; returns what stands at the destination. */
async function checkTransfer(
  exchange: Exchange,
  source: Place,
  facts: FileFacts,
  destination: Place,
  how: 'rename' | 'write',
): Promise<FileFacts | undefined> {
  const { request, caller, target } = exchange;
  if (target.collection && facts.kind === 'file')
    throw new WeftError('not-found', 'not-found', 'It is a file, not a collection.');
  authorise(caller, how === 'rename' ? 'rename-to' : 'create', destination, {
    tree: facts.kind === 'collection',
  });
  const existing = await statIfThere(destination);
  if (existing) {
    const tree = existing.kind === 'collection';
    authorise(caller, how === 'rename' ? 'rename-over' : 'overwrite', destination, { tree });
    // What was in it goes away.
    if (tree) authorise(caller, 'delete', destination, { collection: true, tree });
  }
  evaluateConditions(request, facts);
  if (isWithin(source.path, destination.path) || isWithin(destination.path, source.path)) {
    throw new WeftError(
      'forbidden',
      'same-resource',
      'Source and destination are the same, or one lies in the other.',
    );
  }
  if (existing && !overwrites(request)) {
    throw new WeftError('precondition', 'exists', 'The destination exists, and Overwrite is F.');
  }
  return existing;
}

interface Copied {
  readonly facts: FileFacts;
  readonly digests: Digests;
}

/** The copy has the source's content, so that it has its checksums too, unless somebody wrote meanwhile. */
async function describeCopy(
  door: Door,
  source: Place,
  before: FileFacts,
  destination: Place,
): Promise<Copied> {
  const facts = await destination.area.files.stat(destination.inner);
  if (facts.kind === 'collection') return { facts, digests: {} };
  const now = await statIfThere(source);
  const [known = {}] = await door.checksums.find(source.area.name, [before]);
  const unchanged =
    now?.inode === before.inode && now.modifiedNs === before.modifiedNs && now.size === facts.size;
  return { facts, digests: unchanged ? known : {} };
}

function entryOfCopy({ area, path }: Place, { facts, digests }: Copied, replaced: boolean): Entry {
  if (facts.kind === 'collection') return { changes: [{ type: 'file.created', path, collection: true }] };
  const changes: Change[] = [{ type: 'file.closed', path, facts, digests }];
  if (!replaced) changes.unshift({ type: 'file.created', path, collection: false });
  return { checksums: [{ area: area.name, facts, digests }], changes };
}

/** Infinity unless it says 0 (RFC 4918 section 9.8.3). @throws {WeftError} `invalid` for anything else. */
function readCopyDepth(text = 'infinity'): 0 | 'infinity' {
  if (text === '0') return 0;
  if (text.toLowerCase() === 'infinity') return 'infinity';
  throw new WeftError('invalid', 'invalid-depth', 'Depth must be 0 or infinity.');
}

function destinationUrl(request: IncomingMessage): string {
  const { destination: [text, ...others] = [] } = request.headersDistinct;
  if (text === undefined || others.length > 0)
    throw new WeftError('invalid', 'no-destination', 'The header Destination must be there, and once.');
  return text;
}

/** Whether `Destination` is a path, or a URL of an authority that is ours. Without one, the local dialect complains. */
function isLocal(door: Door, request: IncomingMessage): boolean {
  const text = header(request, 'destination');
  if (text === undefined || text.startsWith('/')) return true;
  if (Object.keys(request.headers).some((name) => name.startsWith('transferheader'))) return false;
  return isOwnAuthority(door, request, text);
}

/** @throws {WeftError} `upstream`, code `other-server` (502), when the destination is not here (RFC 4918 section 9.9.4). */
function localDestination({ door, request }: Exchange): ResourcePath {
  const text = destinationUrl(request);
  if (text.startsWith('/')) return parseResourcePath(text);
  if (!/^(?:https?|davs?):\/\/./i.test(text))
    throw new WeftError(
      'invalid',
      'invalid-destination',
      'Destination must be a URL, or a path from the root.',
    );
  if (!isOwnAuthority(door, request, text)) {
    throw new WeftError('upstream', 'other-server', 'The destination is on another server.');
  }
  return parseResourcePath(text.replace(/^[a-z]+:\/\/[^/?#]*/i, '') || '/');
}
