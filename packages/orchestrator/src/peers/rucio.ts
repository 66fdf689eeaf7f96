import { WeftError } from '@weft/kernel/errors';
import type { GuardedFetch } from '@weft/kernel/http';
import { z } from 'zod';
import type { Datalake, NewRule, RuleState } from '../core/peers.ts';
import { failureOf, unreachable } from './http-failure.ts';

export interface RucioOptions {
  readonly url: string;
  readonly fetch: GuardedFetch;
  /** A token of the user for this datalake. */
  readonly token: () => Promise<string>;
}

const replicaLineSchema = z.object({
  scope: z.string(),
  name: z.string(),
  bytes: z
    .number()
    .nullish()
    .transform((bytes) => bytes ?? 0),
  rses: z
    .record(z.string(), z.array(z.string()))
    .nullish()
    .transform((rses) => rses ?? {}),
});

const ruleSchema = z.object({
  id: z.string(),
  account: z.string(),
  rse_expression: z.string(),
  copies: z.number(),
  state: z.string(),
  comments: z.string().nullish(),
  error: z.string().nullish(),
  locks_ok_cnt: z.number().nullish(),
  locks_replicating_cnt: z.number().nullish(),
  locks_stuck_cnt: z.number().nullish(),
});

const whoamiSchema = z.object({ account: z.string() });
const distanceSchema = z.array(z.object({ distance: z.number().nullish() }));
const errorSchema = z.object({ ExceptionClass: z.string(), ExceptionMessage: z.string() });

/**
 * The few calls of Rucio's REST interface that the workflow needs (brief rucio-api 2.3 to 2.6), with the user's token. They
 * are plain Rucio: the original answers them as well.
 */
export function rucioDatalake({ url, fetch, token }: RucioOptions): Datalake {
  async function request(method: string, path: string, body?: unknown): Promise<Response> {
    const what = `${method} ${path}`;
    let response: Response;
    try {
      response = await fetch(`${url}${path}`, {
        method,
        headers: { 'x-rucio-auth-token': await token(), accept: '*/*' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw unreachable('datalake', error);
    }
    if (response.ok) return response;
    const text = await response.text();
    const refusal = errorSchema.safeParse(parseJson(text));
    const code = refusal.success ? refusal.data.ExceptionClass : 'datalake-refused';
    const message = refusal.success ? refusal.data.ExceptionMessage : text.slice(0, 200);
    // Rucio answers 401 also for a good token without the right (brief rucio-api 2.0).
    if (code === 'AccessDenied') throw new WeftError('forbidden', code, `${what}: ${message}`);
    throw failureOf(what, response.status, code, `${code}: ${message}`);
  }

  async function lines<Line>(schema: z.ZodType<Line>, response: Response): Promise<Line[]> {
    const text = await response.text();
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => schema.parse(parseJson(line)));
  }

  async function orUndefined<Result>(call: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof WeftError && error.kind === 'not-found') return undefined;
      throw error;
    }
  }

  const rulesOf = async (did: string) =>
    await lines(ruleSchema, await request('GET', `/dids/${pathOf(did)}/rules`));

  /** The rule that stands in the way of an equal one of the same account. */
  async function sameRule({ did, rseExpression, copies }: NewRule): Promise<string> {
    const { account } = whoamiSchema.parse(await (await request('GET', '/accounts/whoami')).json());
    const same = (await rulesOf(did)).find(
      (rule) => rule.account === account && rule.rse_expression === rseExpression && rule.copies === copies,
    );
    // It may have gone in between: asked again, the datalake will make it.
    if (same === undefined)
      throw new WeftError('unavailable', 'rule-changing', `the rule for ${did} is changing`);
    return same.id;
  }

  return {
    async replicas(dids) {
      // An unknown DID is an empty answer to the next call; here it is an error with its name.
      for (const did of dids) await request('GET', `/dids/${pathOf(did)}`);
      const body = { dids: dids.map(splitDid), all_states: false, ignore_availability: true };
      const response = await request('POST', '/replicas/list', body);
      return summarise(await lines(replicaLineSchema, response));
    },
    async distance(source, destination) {
      const path = `/rses/${encodeURIComponent(source)}/distances/${encodeURIComponent(destination)}`;
      const answer = await orUndefined(() => request('GET', path));
      if (answer === undefined) return undefined;
      const [first] = distanceSchema.parse(await answer.json());
      return first?.distance ?? undefined;
    },
    async exists(did) {
      const answer = await orUndefined(() => request('GET', `/dids/${pathOf(did)}`));
      await answer?.body?.cancel();
      return answer !== undefined;
    },
    async findRule(did, mark) {
      const ours = (await rulesOf(did)).find((rule) => rule.comments === mark);
      return ours === undefined ? undefined : stateOf(ours);
    },
    async makeRule(rule) {
      let response: Response;
      try {
        response = await request('POST', '/rules/', ruleBody(rule));
      } catch (error) {
        if (!(error instanceof WeftError) || error.code !== 'DuplicateRule') throw error;
        return { id: await sameRule(rule), shared: true };
      }
      const [id] = z.array(z.string()).parse(await response.json());
      if (id === undefined)
        throw new WeftError('upstream', 'no-rule-id', 'datalake: POST /rules/ gave no id');
      return { id, shared: false };
    },
    async rule(id) {
      const answer = await orUndefined(() => request('GET', `/rules/${encodeURIComponent(id)}`));
      return answer === undefined ? undefined : stateOf(ruleSchema.parse(await answer.json()));
    },
    async deleteRule(id) {
      await orUndefined(async () => {
        const answer = await request('DELETE', `/rules/${encodeURIComponent(id)}`, { purge_replicas: false });
        await answer.body?.cancel();
      });
    },
  };
}

function ruleBody({ did, rseExpression, copies, lifetimeSeconds, mark }: NewRule) {
  return {
    dids: [splitDid(did)],
    account: null,
    copies,
    rse_expression: rseExpression,
    lifetime: lifetimeSeconds ?? null,
    // All files together: the job reads them from one place (brief dashboard-and-example B5, row 3).
    grouping: 'ALL',
    locked: false,
    comment: mark,
    activity: 'Production Input',
  };
}

function stateOf(rule: z.output<typeof ruleSchema>): RuleState {
  return {
    id: rule.id,
    state: rule.state,
    locksOk: rule.locks_ok_cnt ?? 0,
    locksReplicating: rule.locks_replicating_cnt ?? 0,
    locksStuck: rule.locks_stuck_cnt ?? 0,
    error: rule.error ?? undefined,
  };
}

function summarise(replicas: readonly z.output<typeof replicaLineSchema>[]) {
  const holdings = new Map<string, { rses: string[]; files: number; bytes: number }>();
  const seen = new Set<string>();
  let bytes = 0;
  for (const replica of replicas) {
    const file = `${replica.scope}:${replica.name}`;
    if (seen.has(file)) continue;
    seen.add(file);
    const rses = Object.keys(replica.rses).sort();
    const key = rses.join(' ');
    const holding = holdings.get(key) ?? { rses, files: 0, bytes: 0 };
    holding.files += 1;
    holding.bytes += replica.bytes;
    bytes += replica.bytes;
    holdings.set(key, holding);
  }
  return { files: seen.size, bytes, holdings: [...holdings.values()] };
}

function splitDid(did: string): { scope: string; name: string } {
  const at = did.indexOf(':');
  return { scope: did.slice(0, at), name: did.slice(at + 1) };
}

function pathOf(did: string): string {
  const { scope, name } = splitDid(did);
  return `${encodeURIComponent(scope)}/${encodeURIComponent(name)}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
