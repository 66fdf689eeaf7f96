import type { Principal } from '@weft/kernel/auth';
import type { CloudEvent } from '@weft/kernel/events';
import { testPrincipal } from '@weft/kernel/testing';
import { expect, test } from 'vitest';
import { callerOf } from './caller.ts';
import { eventVisibility } from './event-visibility.ts';

const mapping = { vo_of_issuer: {} };
const visible = eventVisibility(mapping);

const principal = (subject: string, scope: string, group: string) =>
  testPrincipal({ subject, scopes: new Set(scope.split(' ')), groups: [group] });

function eventOf(owner: Principal): CloudEvent {
  const { vo, delegationId } = callerOf(owner, mapping);
  return {
    specversion: '1.0',
    id: '1',
    source: '/transfer',
    type: 'file.state',
    subject: '1',
    time: '2026-01-01T00:00:00Z',
    data: { vo_name: vo, cred_id: delegationId },
  };
}

test('whoever may read a job sees its events, and nobody else', () => {
  const robot = principal('robot', 'fts:submit-transfer', '/drought');
  const event = eventOf(robot);
  expect(visible(robot, event)).toBe(true);
  expect(visible(principal('alice', 'fts', '/drought'), event)).toBe(true);
  expect(visible(principal('bob', 'fts:submit-transfer', '/drought'), event)).toBe(false);
  expect(visible(principal('mallory', 'fts', '/elsewhere'), event)).toBe(false);
  expect(visible(principal('robot', 'openid', '/drought'), event)).toBe(false);
  expect(visible(robot, { ...event, data: { changed: [] } })).toBe(false);
});
