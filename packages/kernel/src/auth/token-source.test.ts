import { describe, expect, it } from 'vitest';
import { Secret } from '../config/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import { createLogger } from '../telemetry/index.ts';
import { createTokenSource } from './token-source.ts';

const ISSUER = 'https://issuer.test';
const log = createLogger({ name: 'test', level: 'silent' });
const request = { audience: 'https://a.test', scopes: ['b', 'a'] };

/** An issuer that answers what the test says, and remembers what it was asked. */
function setUp(answer: (form: URLSearchParams) => Response | Promise<Response>) {
  const forms: URLSearchParams[] = [];
  const headers: Record<string, string>[] = [];
  const state = { down: false };
  const fetch: GuardedFetch = async (input, init) => {
    if (state.down) throw new TypeError('connect ECONNREFUSED');
    if (new URL(input).pathname.startsWith('/.well-known/')) {
      return Response.json({ issuer: ISSUER, token_endpoint: `${ISSUER}/token` });
    }
    const form = new URLSearchParams(String(init?.body));
    forms.push(form);
    headers.push(init?.headers ?? {});
    return answer(form);
  };
  const credentials = { issuer: ISSUER, clientId: 'datalake', clientSecret: new Secret('s3cret') };
  return { forms, headers, state, tokens: createTokenSource({ credentials, fetch, log }) };
}

const token = (more: Record<string, unknown> = {}) =>
  Response.json({ access_token: crypto.randomUUID(), token_type: 'Bearer', expires_in: 3600, ...more });
const refusal = (error: string) => Response.json({ error, error_description: 'because' }, { status: 400 });

describe('own tokens', () => {
  it('are asked for with Basic, once per audience and set of scopes', async () => {
    const { tokens, forms, headers } = setUp(() => token());
    const first = await Promise.all([
      tokens.own(request),
      tokens.own({ ...request, scopes: ['a', 'b'] }),
      tokens.own(request),
    ]);
    expect(new Set(first).size).toBe(1);
    expect(await tokens.own(request)).toBe(first[0]);
    await tokens.own({ ...request, audience: 'https://b.test' });
    expect(forms.map((form) => [form.get('grant_type'), form.get('audience')])).toEqual([
      ['client_credentials', 'https://a.test'],
      ['client_credentials', 'https://b.test'],
    ]);
    expect(new Headers(headers[0]).get('authorization')).toBe(`Basic ${btoa('datalake:s3cret')}`);
  });

  it('are renewed before they end', async () => {
    const { tokens, forms } = setUp(() => token({ expires_in: 0 }));
    await tokens.own(request);
    await tokens.own(request);
    expect(forms).toHaveLength(2);
  });

  it('are asked for again after a failure', async () => {
    const { tokens, state } = setUp(() => token());
    state.down = true;
    await expect(tokens.own(request)).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'issuer-unavailable',
    });
    state.down = false;
    await expect(tokens.own(request)).resolves.toEqual(expect.any(String));
  });

  it('that are refused say so, without the secret', async () => {
    const { tokens } = setUp(() => refusal('invalid_scope'));
    const error = await tokens.own(request).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ kind: 'forbidden', code: 'token-refused' });
    expect(String(error)).toContain('invalid_scope: because');
    expect(String(error)).not.toContain('s3cret');
  });
});

describe("users' tokens", () => {
  it('are exchanged for the next audience', async () => {
    const { tokens, forms } = setUp(() =>
      token({
        scope: 'a',
        refresh_token: 'r',
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      }),
    );
    const exchanged = await tokens.exchange('subject', request);
    expect(exchanged).toMatchObject({ scopes: ['a'], expiresAt: expect.any(Date) });
    expect(exchanged.refreshToken?.reveal()).toBe('r');
    expect(JSON.stringify(exchanged)).toContain('"refreshToken":"***"');
    expect(forms[0]?.get('subject_token')).toBe('subject');
  });

  it('that are no longer good are told apart from requests that are not allowed', async () => {
    for (const [error, expected] of [
      ['invalid_grant', 'invalid_grant'],
      ['invalid_target', 'token-refused'],
    ] as const) {
      const { tokens } = setUp(() => refusal(error));
      await expect(tokens.exchange('subject', request)).rejects.toMatchObject({ code: expected });
      await expect(tokens.refresh(new Secret('r'), request)).rejects.toMatchObject({ code: expected });
    }
    const { tokens } = setUp(() => refusal('invalid_request'));
    await expect(tokens.exchange('subject', request)).rejects.toMatchObject({
      kind: 'unauthenticated',
      code: 'invalid_grant',
    });
  });
});
