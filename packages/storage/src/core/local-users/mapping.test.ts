import type { Principal } from '@weft/kernel/auth';
import { createLogger } from '@weft/kernel/telemetry';
import { testPrincipal } from '@weft/kernel/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { claimMethod, createMapping, groupMethod, type MappingMethod, parseMappingFile } from './mapping.ts';

const ISSUER = 'https://issuer.example';
const log = createLogger({ name: 'test', level: 'silent' });

const principal = (claims: Partial<Principal> = {}) => testPrincipal({ issuer: ISSUER, ...claims });

const answering = (name: string, answer: () => string | undefined): MappingMethod => ({
  name,
  find: async () => answer(),
});

describe('the chain of methods', () => {
  it('takes the first that knows the user', async () => {
    const mapping = createMapping(
      [answering('a', () => undefined), answering('b', () => 'bea'), answering('c', () => 'cec')],
      { log },
    );
    expect(await mapping.accountOf(principal())).toBe('bea');
  });

  it('refuses a user whom nobody knows, and says where to link an account', async () => {
    const mapping = createMapping([answering('a', () => undefined)], {
      log,
      linkUrl: 'https://link.example',
    });
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({
      kind: 'forbidden',
      code: 'unmapped-user',
      message: expect.stringContaining('https://link.example'),
    });
  });

  it('does not pass over a method that cannot answer', async () => {
    const broken: MappingMethod = { name: 'broken', find: () => Promise.reject(new Error('down')) };
    const mapping = createMapping([broken, answering('b', () => 'bea')], { log });
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('asks again for a user who has come with other groups', async () => {
    const mapping = createMapping([groupMethod(ISSUER, [{ group: '/ops', account: 'ops' }])], { log });
    expect(await mapping.accountOf(principal({ groups: ['/ops'] }))).toBe('ops');
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({ code: 'unmapped-user' });
  });
});

describe('what is remembered of an answer', () => {
  const MINUTE = 60_000;
  let asked: number;
  let answer: () => Promise<string | undefined>;
  const open = () =>
    createMapping(
      [
        {
          name: 'linking',
          find: () => {
            asked += 1;
            return answer();
          },
        },
      ],
      { log },
    );
  const down = () => Promise.reject(new Error('down'));

  beforeEach(() => {
    vi.useFakeTimers();
    asked = 0;
    answer = async () => 'bea';
  });
  afterEach(() => vi.useRealTimers());

  it('is an account for 5 minutes, and for an hour while nobody answers', async () => {
    const mapping = open();
    await mapping.accountOf(principal());
    vi.advanceTimersByTime(4 * MINUTE);
    await mapping.accountOf(principal());
    expect(asked).toBe(1);
    answer = down;
    vi.advanceTimersByTime(55 * MINUTE);
    expect(await mapping.accountOf(principal())).toBe('bea');
    expect(asked).toBe(2);
    vi.advanceTimersByTime(2 * MINUTE);
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('is a refusal for 30 seconds', async () => {
    const mapping = open();
    answer = async () => undefined;
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({ code: 'unmapped-user' });
    answer = async () => 'bea';
    vi.advanceTimersByTime(29_000);
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({ code: 'unmapped-user' });
    vi.advanceTimersByTime(2_000);
    expect(await mapping.accountOf(principal())).toBe('bea');
  });

  it('is forgotten at once when the link has changed, even when nobody can be asked then', async () => {
    const mapping = open();
    await mapping.accountOf(principal());
    await mapping.accountOf(principal({ subject: 'bob' }));
    answer = down;
    mapping.forget(`${ISSUER}/`, 'alice', new Date());
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await mapping.accountOf(principal({ subject: 'bob' }))).toBe('bea');
  });

  it('stays when it is newer than the change, of which a new process hears late', async () => {
    const mapping = open();
    await mapping.accountOf(principal());
    mapping.forget(ISSUER, 'alice', new Date(Date.now() - 10 * MINUTE));
    await mapping.accountOf(principal());
    expect(asked).toBe(1);
  });

  it('is nothing when the link has changed while it was asked for', async () => {
    const mapping = open();
    let reply: (account: string) => void = () => undefined;
    answer = () => new Promise((resolve) => (reply = resolve));
    const early = mapping.accountOf(principal());
    await vi.advanceTimersByTimeAsync(1);
    mapping.forget(ISSUER, 'alice', new Date());
    reply('bea');
    await early;
    answer = async () => undefined;
    await expect(mapping.accountOf(principal())).rejects.toMatchObject({ code: 'unmapped-user' });
  });
});

describe('a mapping file', () => {
  const text =
    'alice sub1 https://a.example\nbob sub1 https://b.example\ncarol sub2\n# dave sub3 x\nmallory sub1 https://a.example\n';

  it('tells users of different issuers apart, and the first line about a user counts', () => {
    const accounts = parseMappingFile(text, undefined);
    expect(accounts.get('https://a.example sub1')).toBe('alice');
    expect(accounts.get('https://b.example sub1')).toBe('bob');
    expect(accounts.size).toBe(2);
  });

  it("reads Teapot's lines without an issuer for the one that is named", () => {
    expect(parseMappingFile(text, 'https://a.example').get('https://a.example sub2')).toBe('carol');
  });
});

describe('groups and claims', () => {
  it('compares groups without the authority after #, of the named issuer only', async () => {
    const method = groupMethod(ISSUER, [
      { group: 'urn:geant:x:group:climate#aai.example', account: 'climate' },
    ]);
    const entitlements = ['urn:geant:x:group:climate#other.example'];
    expect(await method.find(principal({ entitlements }))).toBe('climate');
    expect(await method.find(principal({ entitlements, issuer: 'https://other.example' }))).toBeUndefined();
    expect(await method.find(principal({ entitlements: ['urn:geant:x:group:climate2'] }))).toBeUndefined();
  });

  it('takes an account from a claim of an authoritative issuer only', async () => {
    const method = claimMethod(ISSUER, 'preferred_username', /^(\w+)@site\.example$/);
    const profile = { preferred_username: 'alice@site.example' };
    expect(await method.find(principal({ profile }))).toBe('alice');
    expect(await method.find(principal({ profile, issuer: 'https://other.example' }))).toBeUndefined();
    expect(await method.find(principal({ profile: { preferred_username: 'root' } }))).toBeUndefined();
  });
});
