import { expect, it } from 'vitest';
import { storageConfig } from '../../config.ts';
import { examineRules } from './examine-rules.ts';

const ISSUER = 'https://issuer.example';
const examine = (principals: unknown[], more: Record<string, unknown> = {}) => {
  const config = storageConfig.parse({
    site: 'x',
    listen: { host: '127.0.0.1', port: 1 },
    url: 'https://x.example',
    areas: [
      { name: 'a', root: '/x', policies: principals.length > 0 ? [{ effect: 'permit', principals }] : [] },
    ],
    ...more,
  });
  return examineRules(config, [`${ISSUER}/`]).map(({ state, found }) => `${state}: ${found}`);
};

it('rules that can be about nobody are told', () => {
  expect(examine([])).toEqual([]);
  expect(examine([{ group: '/cms', issuer: ISSUER }])).toEqual([expect.stringMatching(/^good: 1 rules/)]);
  expect(examine([{ group: '/cms', issuer: 'https://typo.example' }])).toEqual([
    expect.stringMatching(/not trusted: a policy of the area a \(https:\/\/typo\.example\)/),
  ]);
  expect(examine([], { issuer_prefixes: { 'https://typo.example': '/x' } })).toEqual([
    expect.stringMatching(/issuer_prefixes/),
  ]);
  expect(examine([{ vo: 'cms' }])).toEqual([expect.stringMatching(/nobody is asked for/)]);
  expect(examine([{ vo: 'cms' }], { client_certificates: true })).toEqual([expect.stringMatching(/^good/)]);
  const local = { multi_user: { mapping: [{ method: 'file', file: '/x' }] } };
  expect(examine(['anyone'], local)).toEqual([expect.stringMatching(/anonymous_account/)]);
});
