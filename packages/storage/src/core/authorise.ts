import {
  allowsPath,
  insufficientScope,
  isPrefix,
  type Principal,
  type StorageOperation,
} from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';
import type { Caller } from './caller.ts';
import type { Activity, Bounds } from './macaroons/bounds.ts';
import { encodePath, type Segments } from './resource-path.ts';

/** Scopes know no renaming and no change of properties; macaroons do (brief teapot 2.6). */
export type Operation = StorageOperation | 'rename-from' | 'rename-to' | 'rename-over' | 'update-metadata';

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
export function mayDo(
  caller: Caller,
  operation: Operation,
  path: Segments,
  options: { collection?: boolean } = {},
): boolean {
  if (caller.bounds && !withinBounds(caller.bounds, operation, path)) return false;
  return scopesAllow(caller, RULES[operation].scope, path, options);
}

/** What the scopes alone say. */
export function scopesAllow(
  principal: Principal,
  operation: StorageOperation,
  path: Segments,
  options: { collection?: boolean } = {},
): boolean {
  const directory = options.collection === true;
  if (allowsPath(principal.pathScopes, operation, { segments: path, directory })) return true;
  // Clients ask for every parent on their way down, Rucio for its prefix: that a folder is there is no secret from
  // somebody who may work below it.
  return operation === 'stat' && principal.pathScopes.some((scope) => isPrefix(path, scope.path));
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

/** @throws {WeftError} `forbidden`: code `insufficient_scope`, or `read-only-area`. */
export function authorise(
  caller: Caller,
  operation: Operation,
  place: Pick<Place, 'path'> & { readonly area?: Place['area'] },
  options: { collection?: boolean } = {},
): void {
  const { scope } = RULES[operation];
  if (!mayDo(caller, operation, place.path, options)) {
    if (scopesAllow(caller, scope, place.path, options)) throw outOfBounds(operation, place.path);
    throw insufficientScope([`${LEAST_SCOPE[scope]}:${encodePath(place.path)}`]);
  }
  if (CHANGES.has(scope) && place.area?.readOnly) {
    throw new WeftError('forbidden', 'read-only-area', `The storage area ${place.area.name} is read-only.`);
  }
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
