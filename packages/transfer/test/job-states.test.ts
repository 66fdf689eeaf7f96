import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deriveJobStates, lockJobs } from '../src/core/derive-job-states.ts';
import {
  FILE_STATES,
  FILE_TRANSITIONS,
  type FileOfJob,
  type FileState,
  terminalJobState,
} from '../src/core/states.ts';
import type { TransferTables } from '../src/db/schema.ts';
import { startTestService, type TestService } from './harness.ts';

let service: TestService;
let jobId: string;

beforeAll(async () => {
  service = await startTestService();
  jobId = await service
    .client()
    .submit({ files: [{ sources: ['davs://a/f'], destinations: ['davs://b/f'] }] });
});
afterAll(async () => service.stop());

const ended = (state: FileState) => state === 'FINISHED' || state === 'FAILED' || state === 'CANCELED';

/** The job's state after its files have become these. */
async function derive(type: string, files: readonly FileOfJob[]): Promise<string> {
  return service.context.database.transaction<string, TransferTables>(async (tx) => {
    await sql`delete from transfer.files where job_id = ${jobId}`.execute(tx);
    await sql`
      insert into transfer.files (job_id, file_index, hashed_id, vo_name, activity, priority, file_state, file_state_initial,
        source_se, dest_se, source_surl, dest_surl, checksum, finish_time)
      select ${jobId}, index, 0, 'v', 'default', 3, state, 'SUBMITTED', 'davs://a', 'davs://b', 'davs://a/f', 'davs://b/f',
        'ADLER32', case when over then now() end
      from jsonb_to_recordset(${JSON.stringify(files.map((file) => ({ index: file.fileIndex, state: file.state, over: ended(file.state) })))}::jsonb)
        as f (index integer, state text, over boolean)
    `.execute(tx);
    await sql`
      update transfer.jobs set job_type = ${type}, job_state = 'SUBMITTED', job_finished = null, reason = null
      where job_id = ${jobId}
    `.execute(tx);
    await lockJobs(tx, [jobId]);
    const [job] = await deriveJobStates(tx, [jobId]);
    return job?.job_state ?? 'SUBMITTED';
  });
}

test('whatever happened to its files, the state of a job is the function of their states', async () => {
  const file = fc.record({ fileIndex: fc.nat({ max: 3 }), state: fc.constantFrom(...FILE_STATES) });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('N' as const, 'Y' as const, 'H' as const, 'R' as const),
      fc
        .array(file, { minLength: 1, maxLength: 6 })
        .filter((files) => files.some(({ state }) => state !== 'NOT_USED')),
      async (type, files) => {
        const moving = files.some(({ state }) => state === 'READY' || state === 'ACTIVE');
        const expected = terminalJobState(type, files) ?? (moving ? 'ACTIVE' : 'SUBMITTED');
        expect(await derive(type, files)).toBe(expected);
      },
    ),
    { numRuns: 150 },
  );
});

test('terminal states lead nowhere, and every other state can be canceled', () => {
  for (const state of FILE_STATES) {
    if (ended(state)) expect(FILE_TRANSITIONS[state]).toEqual([]);
    else expect(FILE_TRANSITIONS[state]).toContain('CANCELED');
  }
});
