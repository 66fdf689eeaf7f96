import { podStatusSchema } from '@weft/compute/client';
import { describe, expect, it } from 'vitest';
import { outcomeOf } from './interlink.ts';

function status(containers: unknown[], more: Record<string, unknown> = {}) {
  return podStatusSchema.parse({ name: 'p', UID: 'u', namespace: 'n', containers, ...more });
}
const ended = (exitCode: number, reason?: string) => ({
  name: 'job',
  state: {
    terminated: { exitCode, ...(reason === undefined ? {} : { reason }), startedAt: null, finishedAt: null },
  },
});

describe('outcomeOf', () => {
  it('of an original interLink follows from the containers alone', () => {
    expect(outcomeOf(status([ended(0, 'Completed')]))).toMatchObject({
      state: 'succeeded',
      exitCode: 0,
      reason: undefined,
    });
    expect(outcomeOf(status([ended(3, 'Error')]))).toMatchObject({
      state: 'failed',
      exitCode: 3,
      isProviderFault: false,
    });
    expect(outcomeOf(status([{ name: 'job', state: { running: { startedAt: null } } }])).state).toBe(
      'running',
    );
    expect(outcomeOf(status([{ name: 'job', state: { waiting: { reason: 'Queued' } } }])).state).toBe(
      'waiting',
    );
    expect(outcomeOf(status([])).state).toBe('waiting');
  });

  it('is not good before the results are stored', () => {
    expect(outcomeOf(status([ended(0)], { phase: 'Running', reason: 'StagingOut' })).state).toBe('running');
  });

  it.each(['JobLost', 'StageInFailed', 'Evicted'])(
    'with the reason %s is the fault of the provider',
    (reason) => {
      expect(outcomeOf(status([], { phase: 'Failed', reason })).isProviderFault).toBe(true);
    },
  );
});
