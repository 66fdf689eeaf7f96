import { isPrefix, type Principal } from '@weft/kernel/auth';
import type { PolicyConfig } from '../../access-config.ts';
import type { AreaConfig, StorageConfig } from '../../config.ts';
import type { AccessRules, Caller, PolicyDecision } from '../caller.ts';
import type { Operation } from '../operation.ts';
import { parseResourcePath, type Segments } from '../resource-path.ts';
import { matchesPrincipal } from './match-principal.ts';
import { type PathPattern, parsePattern } from './path-pattern.ts';

interface AreaRules {
  readonly name: string;
  readonly base: Segments;
  readonly issuers: ReadonlySet<string> | undefined;
  readonly stageImpliesRead: boolean;
  readonly policies: readonly Policy[];
}

interface Policy {
  readonly effect: PolicyConfig['effect'];
  readonly actions: ReadonlySet<string>;
  readonly patterns: readonly PathPattern[];
  readonly principals: PolicyConfig['principals'];
}

/** Which action of a policy an operation is; `any`: whoever may do anything there may do it. */
const ACTION_OF: Readonly<Record<Operation, 'list' | 'read' | 'write' | 'delete' | 'any'>> = {
  'read-data': 'read',
  stat: 'any',
  list: 'list',
  create: 'write',
  'make-collection': 'write',
  overwrite: 'write',
  delete: 'delete',
  stage: 'read',
  poll: 'any',
  'rename-from': 'delete',
  'rename-to': 'write',
  'rename-over': 'write',
  'update-metadata': 'write',
};

const SILENT: PolicyDecision = { effect: 'silent', why: 'no area is there' };

/** Nothing where the configuration has no such rules: then the scopes alone decide, at no cost. */
export function createAccessRules(
  config: Pick<StorageConfig, 'areas' | 'issuer_prefixes' | 'multi_user'>,
): AccessRules | undefined {
  const prefixes = new Map(
    Object.entries(config.issuer_prefixes).map(([issuer, path]) => [
      withoutSlash(issuer),
      parseResourcePath(path).segments,
    ]),
  );
  const hasRules = config.areas.some(
    ({ issuers, policies, stage_implies_read: stage }) => issuers || stage || policies.length > 0,
  );
  if (!hasRules && prefixes.size === 0) return undefined;
  // The longest base decides, as it does for files.
  const areas = config.areas.map(toRules).toSorted((one, other) => other.base.length - one.base.length);
  const letsAnyoneIn = areas.some(({ policies }) =>
    policies.some(({ effect, principals }) => effect === 'permit' && principals.includes('anyone')),
  );
  if (letsAnyoneIn && config.multi_user && config.multi_user.anonymous_account === undefined)
    throw new Error(
      'storage: a policy for anyone needs multi_user.anonymous_account, the local account that they act as.',
    );
  const areaOf = (path: Segments) => areas.find(({ base }) => isPrefix(base, path));
  /** By principal, which is the same object for all requests with one token. */
  const moved = new WeakMap<Principal, Principal['pathScopes']>();
  const prefixOf = ({ kind, issuer, macaroon }: Caller) =>
    kind === 'certificate' || macaroon ? undefined : prefixes.get(withoutSlash(issuer));
  let anonymous: Caller | undefined;

  const rules: AccessRules = {
    get anonymous() {
      if (letsAnyoneIn) anonymous ??= Object.freeze({ ...ANONYMOUS, access: rules });
      return anonymous;
    },
    enter(caller) {
      const prefix = prefixOf(caller);
      if (!prefix) return { ...caller, access: rules };
      const pathScopes =
        moved.get(caller) ??
        caller.pathScopes.map((scope) => ({ ...scope, path: [...prefix, ...scope.path] }));
      moved.set(caller, pathScopes);
      return { ...caller, pathScopes, access: rules };
    },
    decide(caller, operation, path, { tree = false } = {}) {
      const area = areaOf(path);
      const decision = area ? judge(area, caller, operation, path, tree) : SILENT;
      if (decision.effect !== 'silent') return decision;
      // Clients ask for every parent on their way down. Between areas there is nothing but ways to them.
      const mayPass = operation === 'stat' || (operation === 'list' && !area);
      const below = mayPass && areas.find((one) => isPrefix(path, one.base) && admits(one, caller));
      return below ? { effect: 'permit', why: `it is on the way to the area ${below.name}` } : decision;
    },
    stageImpliesRead: (path) => areaOf(path)?.stageImpliesRead === true,
    scopePath(caller, path) {
      const prefix = prefixOf(caller) ?? [];
      return isPrefix(prefix, path) ? path.slice(prefix.length) : undefined;
    },
  };
  return rules;
}

const ANONYMOUS: Caller = {
  kind: 'user',
  issuer: '',
  subject: 'anonymous',
  clientId: undefined,
  scopes: new Set(),
  pathScopes: [],
  groups: [],
  entitlements: [],
  assurance: new Set(),
  audience: [],
  // Never: there is nothing that could expire.
  expiresAt: new Date(8.64e15),
  jti: undefined,
  actors: [],
  profile: {},
  anonymous: true,
};

function toRules(area: AreaConfig): AreaRules {
  return {
    name: area.name,
    base: parseResourcePath(area.path).segments,
    issuers: area.issuers && new Set(area.issuers.map(withoutSlash)),
    stageImpliesRead: area.stage_implies_read,
    policies: area.policies.map(({ effect, actions, paths, principals }) => ({
      effect,
      actions: new Set(actions),
      patterns: paths.map(parsePattern),
      principals,
    })),
  };
}

/** The first policy that matches decides; for a tree, the first that permits all of it or denies any of it. */
function judge(
  area: AreaRules,
  caller: Caller,
  operation: Operation,
  path: Segments,
  tree: boolean,
): PolicyDecision {
  if (area.issuers && !area.issuers.has(withoutSlash(caller.issuer)))
    return {
      effect: 'deny',
      why: `the area ${area.name} does not serve users of ${caller.issuer || 'nobody'}`,
    };
  const inner = path.slice(area.base.length);
  const action = ACTION_OF[operation];
  const index = area.policies.findIndex(
    (policy) =>
      isAbout(policy, action, inner, tree) &&
      policy.principals.some((principal) => matchesPrincipal(principal, caller)),
  );
  const policy = area.policies[index];
  return policy
    ? { effect: policy.effect, why: `policy ${index + 1} of the area ${area.name}` }
    : { effect: 'silent', why: `no policy of the area ${area.name} is about it` };
}

function isAbout(
  { effect, actions, patterns }: Policy,
  action: string,
  inner: Segments,
  tree: boolean,
): boolean {
  const permits = effect === 'permit';
  if (action === 'any' ? !permits && !actions.has('all') : !actions.has('all') && !actions.has(action))
    return false;
  return patterns.some((pattern) => {
    if (action === 'any' && permits) return pattern.reaches(inner);
    if (!tree) return pattern.matches(inner);
    return permits ? pattern.coversTree(inner) : pattern.reaches(inner);
  });
}

/** Whether a policy lets the caller do anything in an area. */
function admits({ issuers, policies }: AreaRules, caller: Caller): boolean {
  if (issuers && !issuers.has(withoutSlash(caller.issuer))) return false;
  return policies.some(
    ({ effect, principals }) =>
      effect === 'permit' && principals.some((principal) => matchesPrincipal(principal, caller)),
  );
}

function withoutSlash(issuer: string): string {
  return issuer.replace(/\/$/, '');
}
