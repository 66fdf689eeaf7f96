import { describeError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import { printId } from '../names.ts';
import { loadTopology } from '../rses/topology.ts';
import { claimSubmissions, type Submission } from './claim.ts';
import { failRequests } from './fail.ts';
import { type Fts, SubmissionRefused } from './fts.ts';
import { jobDocument } from './job-document.ts';
import { mintStorageTokens } from './storage-tokens.ts';

/** When the FTS server or the issuer could not be reached, the same submission is sent again after this. */
const AGAIN_SECONDS = 5;

/** Hands over what is queued. Answers whether there may be more. */
export async function submitTransfers(lake: Lake, fts: Fts): Promise<'more' | 'idle'> {
  const submissions = await claimSubmissions(lake);
  await Promise.all(submissions.map((submission) => submit(lake, fts, submission)));
  return submissions.length > 0 ? 'more' : 'idle';
}

/**
 * Sends one job. A crash between the server's acceptance and our record does no harm: the lease ends, the job is sent
 * again with the same `sid`, the server says that it has it, and its id is found (brief rucio-daemons 7.1, 4).
 */
async function submit(lake: Lake, fts: Fts, submission: Submission): Promise<void> {
  try {
    const tokens = await mintStorageTokens(lake, submission.requests);
    const topology = await loadTopology(lake.database.sql);
    const document = jobDocument(submission, topology, ({ id }) => tokens.get(id));
    const jobId = await fts.submit(document, printId(submission.id));
    await sql`
      update datalake.requests set state = 'SUBMITTED', external_id = ${jobId}, external_host = ${fts.url},
        submitted_at = now(), polled_at = now(), lease_until = null, updated_at = now()
      where submission_id = ${submission.id} and state = 'SUBMITTING'`.execute(lake.database.sql);
  } catch (error) {
    const reason = describeError(error);
    lake.log.warn(
      { submission: submission.id, files: submission.requests.length, reason },
      'a transfer job was not taken',
    );
    if (error instanceof SubmissionRefused) {
      await lake.database.transaction((tx) =>
        failRequests(
          tx,
          lake,
          submission.requests.map(({ id }) => ({ id, state: 'SUBMISSION_FAILED', reason })),
        ),
      );
      return;
    }
    await sql`
      update datalake.requests set lease_until = now() + make_interval(secs => ${AGAIN_SECONDS}), err_msg = ${reason.slice(0, 1000)}
      where submission_id = ${submission.id} and state = 'SUBMITTING'`.execute(lake.database.sql);
  }
}
