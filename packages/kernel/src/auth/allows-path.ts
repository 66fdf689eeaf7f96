import { isPrefix, type RequestPath } from './path-scope.ts';
import type { PathScope, StorageOperation } from './types.ts';

/** Which scopes allow which operation (brief alise-aai 3.4). `modify` includes `create` but not `read`. */
const ALLOWED_BY: Readonly<Record<StorageOperation, readonly PathScope['action'][]>> = {
  'read-data': ['read'],
  stat: ['read', 'create', 'modify', 'stage'],
  list: ['read'],
  create: ['create', 'modify'],
  'make-collection': ['create', 'modify'],
  overwrite: ['modify'],
  delete: ['modify'],
  stage: ['stage'],
  poll: ['stage', 'poll'],
};

/** Operations that are about a directory by nature, or that must be allowed before anyone knows what is there. */
const NEVER_ABOUT_A_FILE: ReadonlySet<StorageOperation> = new Set(['list', 'make-collection', 'stat']);

/**
 * Whether path scopes allow an operation on a path. Renaming is two questions: `delete` on the source and `create` or
 * `overwrite` on the target (or `create` on both, when nothing is there).
 *
 * @example allowsPath(principal.pathScopes, 'read-data', normaliseRequestPath('/data/2010/12.csv'))
 */
export function allowsPath(
  scopes: readonly PathScope[],
  operation: StorageOperation,
  path: RequestPath,
): boolean {
  const actions = ALLOWED_BY[operation];
  return scopes.some((scope) => actions.includes(scope.action) && covers(scope, operation, path));
}

function covers(scope: PathScope, operation: StorageOperation, path: RequestPath): boolean {
  if (!isPrefix(scope.path, path.segments)) {
    // Whoever may write below `/a/b` may make the missing `/a`.
    return operation === 'make-collection' && isPrefix(path.segments, scope.path);
  }
  if (!scope.directoryOnly || scope.path.length < path.segments.length) return true;
  return path.directory || NEVER_ABOUT_A_FILE.has(operation);
}
