import { expect, test } from 'vitest';
import { runKernelChaos } from './kernel-chaos.ts';

// The long run is `npm run chaos -- kernel`; this keeps it working.
test('kill -9 of processes and of the database: no job is lost and none is repeated', async () => {
  const outcome = await runKernelChaos({ processKills: 4, databaseKills: 3 }, () => undefined);
  expect(outcome).toMatchObject({
    lost: 0,
    repeated: 0,
    unwanted: 0,
    runsAfterCompletion: 0,
    deadLetters: 0,
  });
  expect(outcome.wanted).toBeGreaterThan(0);
});
