import {
  allowsPath,
  insufficientScope,
  isPrefix,
  type Principal,
  type StorageOperation,
} from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';
import { encodePath, type Segments } from './resource-path.ts';

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

/** Whether the caller's scopes allow an operation (brief teapot 2.10); the file system has its say afterwards. */
export function mayDo(
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

/** @throws {WeftError} `forbidden`: code `insufficient_scope`, or `read-only-area`. */
export function authorise(
  principal: Principal,
  operation: StorageOperation,
  place: Pick<Place, 'path'> & { readonly area?: Place['area'] },
  options: { collection?: boolean } = {},
): void {
  if (!mayDo(principal, operation, place.path, options)) {
    throw insufficientScope([`${LEAST_SCOPE[operation]}:${encodePath(place.path)}`]);
  }
  if (CHANGES.has(operation) && place.area?.readOnly) {
    throw new WeftError('forbidden', 'read-only-area', `The storage area ${place.area.name} is read-only.`);
  }
}
