import { isCovered, isGroupScope, USER_SCOPES } from './granted-scopes.ts';
import type { User } from './users.ts';

/** Whether a person may have a scope at all: hers by being a user, by membership (checked later), or by configuration. */
export function userMay(user: User, scope: string): boolean {
  return USER_SCOPES.includes(scope) || isGroupScope(scope) || isCovered(scope, user.scopes);
}
