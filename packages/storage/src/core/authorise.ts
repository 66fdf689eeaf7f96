import {
  allowsPath,
  insufficientScope,
  isPrefix,
  type Principal,
  type StorageOperation,
} from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { hasCapabilities } from './access/match-principal.ts';
import type { Areas, Place } from './areas.ts';
import type { Caller } from './caller.ts';
import type { Activity, Bounds } from './macaroons/bounds.ts';
import type { Operation, Target } from './operation.ts';
import { encodePath, type Segments } from './resource-path.ts';

interface Rule {
  /** As which operation scopes see it. */
  readonly scope: StorageOperation;
  /** A macaroon must have all activities of one of these. Nothing stands here: any activity will do. */
  readonly activities: readonly (readonly Activity[])[];
}

const RULES: Readonly<Record<Operation, Rule>> = {
  'read-data': { scope: 'read-data', activities: [['DOWNLOAD']] },
  stat: { scope: 'stat', activities: [] },
  list: { scope: 'list', activities: [['LIST']] },
  create: { scope: 'create', activities: [['UPLOAD']] },
  'make-collection': { scope: 'make-collection', activities: [['UPLOAD'], ['MANAGE']] },
  overwrite: { scope: 'overwrite', activities: [['UPLOAD', 'DELETE']] },
  delete: { scope: 'delete', activities: [['DELETE']] },
  stage: { scope: 'stage', activities: [['STAGE']] },
  poll: { scope: 'poll', activities: [] },
  'rename-from': { scope: 'delete', activities: [['MANAGE']] },
  'rename-to': { scope: 'create', activities: [['MANAGE']] },
  'rename-over': { scope: 'overwrite', activities: [['MANAGE', 'DELETE']] },
  'update-metadata': { scope: 'overwrite', activities: [['UPDATE_METADATA']] },
};

/** The least scope that allows each operation, for the challenge of a refusal. */
const LEAST_SCOPE: Readonly<Record<StorageOperation, string>> = {
  'read-data': 'storage.read',
  stat: 'storage.read',
  list: 'storage.read',
  create: 'storage.create',
  'make-collection': 'storage.create',
  overwrite: 'storage.modify',
  delete: 'storage.modify',
  stage: 'storage.stage',
  poll: 'storage.poll',
};

const CHANGES: ReadonlySet<StorageOperation> = new Set(['create', 'make-collection', 'overwrite', 'delete']);

/**
 * Whether the caller's scopes allow an operation (brief teapot 2.10), and the caveats of a macaroon do; the file system
 * has its say afterwards.
 */
export function mayDo(caller: Caller, operation: Operation, path: Segments, options: Target = {}): boolean {
  if (caller.bounds && !withinBounds(caller.bounds, operation, path)) return false;
  return rightsAllow(caller, operation, path, options);
}

/**
 * What scopes and the rules of the configuration say, whatever the caveats of a macaroon do. A policy that denies counts
 * for everybody; one that permits, for those whose token does not say itself what it is good for.
 */
export function rightsAllow(
  caller: Caller,
  operation: Operation,
  path: Segments,
  options: Target = {},
): boolean {
  const { access } = caller;
  const { scope } = RULES[operation];
  if (!access) return scopesAllow(caller, scope, path, options);
  const { effect } = access.decide(caller, operation, path, options);
  if (effect === 'deny') return false;
  if (scopesAllow(caller, scope, path, options)) return true;
  if (effect === 'permit' && !hasCapabilities(caller)) return true;
  const reads = scope === 'read-data' || scope === 'list';
  return reads && access.stageImpliesRead(path) && scopesAllow(caller, 'stage', path, options);
}

/** Whether a policy stands against it, whatever the token says. */
export function isDenied(caller: Caller, operation: Operation, path: Segments, target: Target): boolean {
  return caller.access?.decide(caller, operation, path, target).effect === 'deny';
}

/** What the scopes alone say. */
function scopesAllow(
  principal: Principal,
  operation: StorageOperation,
  path: Segments,
  options: Target = {},
): boolean {
  const directory = options.collection === true;
  if (allowsPath(principal.pathScopes, operation, { segments: path, directory })) return true;
  // Clients ask for every parent on their way down, Rucio for its prefix: that a folder is there is no secret from
  // somebody who may work below it.
  return operation === 'stat' && principal.pathScopes.some((scope) => isPrefix(path, scope.path));
}

/** As which operation scopes see one. */
export function operationScope(operation: Operation): StorageOperation {
  return RULES[operation].scope;
}

/** Of the areas below a path, the next components on the way to those that the caller may see. */
export function visibleAreas(areas: Areas, caller: Caller, path: Segments): readonly string[] {
  return areas.virtualChildren(path).filter((name) => mayDo(caller, 'stat', [...path, name]));
}

function withinBounds(bounds: Bounds, operation: Operation, path: Segments): boolean {
  const { activities } = RULES[operation];
  const enough =
    activities.length === 0
      ? bounds.activities.size > 0
      : activities.some((needed) => needed.every((activity) => bounds.activities.has(activity)));
  if (!enough) return false;
  if (isPrefix(bounds.path, path)) return true;
  // Parents may be looked at, and made when they are missing, as with scopes.
  return (operation === 'stat' || operation === 'make-collection') && isPrefix(path, bounds.path);
}

/**
 * @throws {WeftError} `forbidden`: code `insufficient_scope`, `policy` or `read-only-area`; `unauthenticated` for callers
 *   without a credential, who may have one that lets them in.
 */
export function authorise(
  caller: Caller,
  operation: Operation,
  place: Pick<Place, 'path'> & { readonly area?: Place['area'] },
  options: Target = {},
): void {
  const { scope } = RULES[operation];
  if (!mayDo(caller, operation, place.path, options)) throw refusal(caller, operation, place.path, options);
  if (CHANGES.has(scope) && place.area?.readOnly) {
    throw new WeftError('forbidden', 'read-only-area', `The storage area ${place.area.name} is read-only.`);
  }
}

function refusal(caller: Caller, operation: Operation, path: Segments, options: Target): WeftError {
  const { access } = caller;
  if (caller.anonymous)
    return new WeftError('unauthenticated', 'missing_token', 'A bearer token is needed for this.');
  if (rightsAllow(caller, operation, path, options)) return outOfBounds(operation, path);
  const decision = access?.decide(caller, operation, path, options);
  if (decision?.effect === 'deny')
    return new WeftError('forbidden', 'policy', `Refused at ${encodePath(path)}: ${decision.why}.`);
  if (decision && !hasCapabilities(caller)) {
    const what = `The token has no storage scopes, and no policy lets you do this at ${encodePath(path)}.`;
    return new WeftError('forbidden', 'policy', what);
  }
  const spelt = access ? access.scopePath(caller, path) : path;
  return insufficientScope(spelt ? [`${LEAST_SCOPE[RULES[operation].scope]}:${encodePath(spelt)}`] : []);
}

/** @throws {WeftError} `too-large`, when the macaroon allows no file of so many bytes (`max-upload`). */
export function authoriseBytes({ bounds }: Caller, bytes: number): void {
  const maximum = bounds?.maximumUploadBytes;
  if (maximum !== undefined && bytes > maximum) {
    throw new WeftError(
      'too-large',
      'max-upload',
      `The macaroon allows uploads of at most ${maximum} bytes.`,
    );
  }
}

function outOfBounds(operation: Operation, path: Segments): WeftError {
  const needed = RULES[operation].activities.map((activities) => activities.join('+')).join(' or ');
  const what = needed === '' ? 'access' : needed;
  return new WeftError(
    'forbidden',
    'insufficient_scope',
    `The macaroon does not allow ${what} at ${encodePath(path)}.`,
  );
}
