import { expect, it } from 'vitest';
import { isEnd, mayFollow, PHASES, type Phase } from './phases.ts';

const phases = Object.keys(PHASES) as Phase[];

it('every phase leads to an end', () => {
  const leads = new Set(phases.filter(isEnd));
  for (let round = 0; round < phases.length; round += 1) {
    for (const phase of phases) if (PHASES[phase].next.some((next) => leads.has(next))) leads.add(phase);
  }
  expect(phases.filter((phase) => !leads.has(phase) && phase !== 'deleting')).toEqual([]);
});

it('every phase but the deletion itself may be ended by a deletion', () => {
  expect(phases.filter((phase) => !mayFollow(phase, 'deleting'))).toEqual(['deleting']);
});

it('nothing goes on from an end but a deletion', () => {
  for (const phase of phases.filter(isEnd)) expect(PHASES[phase].next).toEqual(['deleting']);
});
