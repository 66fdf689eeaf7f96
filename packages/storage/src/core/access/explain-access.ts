import { allowsPath, type PathScope, type StorageOperation } from '@weft/kernel/auth';
import { describeError } from '@weft/kernel/errors';
import type { Place } from '../areas.ts';
import { mayDo, operationScope } from '../authorise.ts';
import type { Caller } from '../caller.ts';
import type { Door } from '../door.ts';
import type { FileFacts, Permissions } from '../files/types.ts';
import type { Operation } from '../operation.ts';
import { encodePath, plainPath, type Segments } from '../resource-path.ts';
import { hasCapabilities } from './match-principal.ts';

/** What somebody may do at a path, and what decides. */
interface ExplainedPath {
  readonly path: string;
  /** Nothing where no area serves it. */
  readonly area: string | undefined;
  readonly stands: 'file' | 'collection' | 'nothing' | 'unknown';
  readonly owner: { readonly uid: number; readonly gid: number; readonly mode: string } | undefined;
  /** By action. */
  readonly actions: Readonly<Record<string, Decision>>;
}

interface Decision {
  readonly allowed: boolean;
  readonly why: string;
}

const ACTIONS = [
  'read',
  'list',
  'stat',
  'create',
  'make_collection',
  'overwrite',
  'delete',
  'rename',
  'stage',
] as const;

type Action = (typeof ACTIONS)[number];

const OPERATIONS: Readonly<Record<Action, Operation>> = {
  read: 'read-data',
  list: 'list',
  stat: 'stat',
  create: 'create',
  make_collection: 'make-collection',
  overwrite: 'overwrite',
  delete: 'delete',
  rename: 'rename-from',
  stage: 'stage',
};

/**
 * Decides about each action at a path as the requests themselves are decided: what the credential is worth, what the site's
 * policies say, then what the kernel lets the local account do (brief teapot 2.9, 2.10). `door` is the caller's view of
 * it; nothing when they have no account.
 */
export async function explainAccess(
  door: Door,
  own: { readonly door: Door; readonly account: LocalAccount } | undefined,
  caller: Caller,
  path: Segments,
): Promise<ExplainedPath> {
  const config = door.config.areas.toSorted((one, other) => other.path.length - one.path.length);
  const plain = plainPath(path);
  const area = config.find(
    ({ path: base }) => base === '/' || plain === base || plain.startsWith(`${base}/`),
  );
  const place = own?.door.areas.find(path);
  // What is there is told to those alone who may ask for it by a request for the path itself.
  const mayLook = mayDo(caller, 'stat', path, { collection: true });
  const found = !mayLook ? OUT_OF_REACH : place ? await look(place) : UNKNOWN;
  const decide = (action: Action): Decision => {
    const rights = explainRights(caller, OPERATIONS[action], path);
    if (!rights.allowed) return rights;
    if (!area) return { allowed: false, why: 'no area serves this path' };
    if (area.read_only && CHANGING.has(action))
      return { allowed: false, why: `the area ${area.name} is read-only` };
    if (!own) return { allowed: false, why: `${rights.why}, but you have no local account here` };
    const files = askFiles(action, found, own.account);
    return files.allowed ? { allowed: true, why: `${rights.why}; ${files.why}` } : files;
  };
  const { facts } = found;
  return {
    path: encodePath(path),
    area: area?.name,
    stands: found.trouble === undefined ? (facts?.kind ?? 'nothing') : 'unknown',
    owner: facts && {
      uid: facts.uid,
      gid: facts.gid,
      mode: (facts.mode & 0o7777).toString(8).padStart(4, '0'),
    },
    actions: Object.fromEntries(ACTIONS.map((action) => [action, decide(action)])),
  };
}

const CHANGING: ReadonlySet<Action> = new Set(['create', 'make_collection', 'overwrite', 'delete', 'rename']);

/** Who reads and writes. */
interface LocalAccount {
  readonly name: string;
  readonly uid: number;
}

/** Which right decides, or which is missing. */
function explainRights(caller: Caller, operation: Operation, path: Segments): Decision {
  const { access, bounds, pathScopes } = caller;
  const policy = access?.decide(caller, operation, path);
  if (policy?.effect === 'deny') return { allowed: false, why: policy.why };
  const scope = operationScope(operation);
  const granting = pathScopes.find((one) => allowsPath([one], scope, { segments: path, directory: true }));
  const allowed = mayDo(caller, operation, path, { collection: true });
  const source =
    granting !== undefined
      ? `scope ${printScope(granting)}`
      : policy?.effect === 'permit' && !hasCapabilities(caller)
        ? policy.why
        : undefined;
  if (allowed) return { allowed, why: source ?? 'it is on the way to what you may use' };
  if (source !== undefined && bounds)
    return { allowed, why: `${source}, but a caveat of the macaroon forbids it` };
  if (policy && !hasCapabilities(caller)) return { allowed, why: `no storage scope, and ${policy.why}` };
  return { allowed, why: `no scope for it: ${NEEDED[scope]} on this path or above would do` };
}

const NEEDED: Readonly<Record<StorageOperation, string>> = {
  'read-data': 'storage.read',
  list: 'storage.read',
  stat: 'any storage scope',
  create: 'storage.create or storage.modify',
  'make-collection': 'storage.create or storage.modify',
  overwrite: 'storage.modify',
  delete: 'storage.modify',
  stage: 'storage.stage',
  poll: 'storage.poll or storage.stage',
};

/** @example printScope({ action: 'read', path: ['a b'], directoryOnly: false }) // 'storage.read:/a%20b' */
export function printScope({ action, path, directoryOnly }: PathScope): string {
  return `storage.${action}:${encodePath(path, directoryOnly)}`;
}

/** What the account sees at a place and around it. */
interface Found {
  readonly facts: FileFacts | undefined;
  readonly own: Permissions | undefined;
  /** The innermost collection above it that is there. */
  readonly parent: { readonly facts: FileFacts; readonly may: Permissions } | undefined;
  /** Why the account cannot even look. */
  readonly trouble: string | undefined;
}

const UNKNOWN: Found = { facts: undefined, own: undefined, parent: undefined, trouble: undefined };
const OUT_OF_REACH: Found = { ...UNKNOWN, trouble: 'the credential does not reach there' };

async function look({ area: { files }, inner }: Place): Promise<Found> {
  try {
    const facts = await files.lookup(inner);
    const own = facts && (await files.permissions(inner));
    for (let depth = inner.length - 1; depth >= 0; depth--) {
      const above = inner.slice(0, depth);
      const parent = await files.lookup(above);
      if (parent)
        return {
          facts,
          own,
          parent: { facts: parent, may: await files.permissions(above) },
          trouble: undefined,
        };
    }
    return { facts, own, parent: undefined, trouble: undefined };
  } catch (error) {
    return { ...UNKNOWN, trouble: describeError(error) };
  }
}

const STICKY = 0o1000;

/** What the file system says, as far as it can be told beforehand: quotas and locks have their say at the request. */
function askFiles(
  action: Action,
  { facts, own, parent, trouble }: Found,
  { name, uid }: LocalAccount,
): Decision {
  const who = `the local account ${name}`;
  const no = (why: string): Decision => ({ allowed: false, why });
  const yes = (allowed: boolean | undefined, what: string): Decision => ({
    allowed: allowed === true,
    why: allowed === true ? `${who} may ${what}` : `the file system does not let ${who} ${what}`,
  });
  if (trouble !== undefined) return no(`the file system does not let ${who} look: ${trouble}`);
  const writesParent = parent?.may.write === true && parent.may.enter;
  // In a sticky folder only owners take things away (rename(2)).
  const sticky = parent !== undefined && facts !== undefined && (parent.facts.mode & STICKY) !== 0;
  const owns = uid === 0 || uid === facts?.uid || uid === parent?.facts.uid;
  const replaces = writesParent && (!sticky || owns);
  const needed =
    sticky && !owns ? 'in a sticky folder only its owner may' : 'which takes the right to write around it';
  switch (action) {
    case 'stat':
      return facts ? yes(true, 'look at it') : no('there is nothing');
    case 'read':
    case 'stage':
      if (facts?.kind !== 'file') return no(facts ? 'it is a collection' : 'there is nothing');
      return yes(own?.read, 'read it');
    case 'list':
      if (facts?.kind !== 'collection') return no(facts ? 'it is a file' : 'there is nothing');
      return yes(own?.read && own.enter, 'list it');
    case 'create':
    case 'make_collection':
      return facts
        ? no('something of that name is there')
        : yes(writesParent, 'write to the collection around it');
    case 'overwrite':
      if (facts?.kind !== 'file') return no(facts ? 'it is a collection' : 'there is nothing');
      return yes(replaces, `replace it: ${needed}`);
    case 'delete':
    case 'rename': {
      if (!facts) return no('there is nothing');
      if (!parent) return no('the root of an area stays');
      return yes(replaces, `take it away: ${needed}`);
    }
  }
}
