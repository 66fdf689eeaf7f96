import { describe, expect, it } from 'vitest';
import { parseEntitlement, satisfiesEntitlement, satisfiesEntitlements } from './entitlements.ts';

const EGI = 'urn:mace:egi.eu:group:drought';

describe('group entitlements', () => {
  it('are taken apart', () => {
    expect(parseEntitlement('urn:mace:egi.eu:group:drought:ops:role=member#aai.egi.eu')).toEqual({
      namespace: 'mace:egi.eu',
      groups: ['drought', 'ops'],
      role: 'member',
      authority: 'aai.egi.eu',
    });
    expect(parseEntitlement('urn:geant:iam.example:group:parent:child')).toMatchObject({
      groups: ['parent', 'child'],
    });
  });

  it.each([
    '',
    'drought',
    'urn:mace:egi.eu:res:gocdb#aai.egi.eu',
    'urn:mace:egi.eu:group:',
    'urn:x:group:a::b',
    'urn:x:group:role=a:b',
  ])('%j is none', (text) => {
    expect(parseEntitlement(text)).toBeUndefined();
  });

  it.each([
    [`${EGI}:role=member#aai.egi.eu`, EGI, true],
    [`${EGI}:ops#aai.egi.eu`, EGI, true],
    ['URN:MACE:EGI.EU:group:drought', EGI, true],
    [`${EGI}`, `${EGI}:ops`, false],
    [`${EGI}2`, EGI, false],
    [`${EGI}:role=member`, `${EGI}:role=admin`, false],
    [`${EGI}:ops:role=admin`, `${EGI}:role=admin`, false],
    [`${EGI}:role=admin#a`, `${EGI}:role=admin`, true],
    [`${EGI}#a`, `${EGI}#b`, false],
    [`${EGI}`, `${EGI}#b`, false],
    ['urn:mace:other.eu:group:drought', EGI, false],
    ['staff', 'staff', true],
    ['staff-x', 'staff', false],
  ])('%s satisfies %s: %s', (have, need, expected) => {
    expect(satisfiesEntitlement(have, need)).toBe(expected);
  });

  it('are counted by the rule of the policy', () => {
    const have = ['a', 'b'];
    expect(satisfiesEntitlements(have, ['a', 'c'])).toBe(true);
    expect(satisfiesEntitlements(have, ['a', 'c'], 'all')).toBe(false);
    expect(satisfiesEntitlements(have, ['a', 'b', 'c'], 2)).toBe(true);
    expect(satisfiesEntitlements([], ['a'], 'one')).toBe(false);
  });
});
