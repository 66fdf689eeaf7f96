import { WeftError } from '@weft/kernel/errors';
import { ALGORITHMS, type Algorithm, type Digests, findMismatch } from '../checksums/digests.ts';
import { askWithDigest } from './ask-with-digest.ts';
import type { Partner } from './partner.ts';
import { describeRequest } from './remote-file.ts';
import { remoteRefusal } from './remote-refusal.ts';

export interface Comparison {
  readonly sizeBytes: number;
  readonly digests: Digests;
  /** Computes what the other side tells and `digests` does not have, where that is possible. */
  readonly compute?: (algorithms: readonly Algorithm[]) => Promise<Digests>;
  /** The file has just been put there: it must be found, even by those who ask for no checksum. */
  readonly mustExist?: boolean;
  /** Fail when the other side tells nothing that can be compared. */
  readonly requireChecksum: boolean;
}

export function hasCommon(one: Digests, other: Digests): boolean {
  return ALGORITHMS.some((algorithm) => one[algorithm] !== undefined && other[algorithm] !== undefined);
}

/**
 * Asks the other side for size and checksum of its file.
 * @throws {WeftError} `upstream`: they differ, or there is no checksum and one is required.
 */
export async function compareWithRemote(partner: Partner, here: Comparison): Promise<void> {
  const answer = await askWithDigest(partner, 'HEAD');
  if (answer.status < 200 || answer.status > 299) {
    const missing = answer.status === 404 || answer.status === 410;
    if (here.requireChecksum || (here.mustExist && missing)) throw await remoteRefusal('HEAD', answer);
    answer.body.resume();
    return;
  }
  answer.body.resume();
  const { url } = answer;
  const length = answer.header('content-length');
  if (length !== undefined && Number(length) !== here.sizeBytes) {
    throw new WeftError(
      'upstream',
      'size-mismatch',
      `${describeRequest('HEAD', url)} says ${length} bytes, here are ${here.sizeBytes}`,
    );
  }
  const stated = answer.digests();
  let { digests } = here;
  const [told] = ALGORITHMS.filter((algorithm) => stated[algorithm] !== undefined);
  if (!hasCommon(stated, digests) && told !== undefined && here.compute) {
    digests = { ...digests, ...(await here.compute([told])) };
  }
  const mismatch = findMismatch(stated, digests);
  if (mismatch) {
    throw new WeftError(
      'upstream',
      'checksum-mismatch',
      `The ${mismatch.algorithm} at ${url.host} is ${mismatch.expected}, here it is ${mismatch.actual}`,
    );
  }
  if (here.requireChecksum && !hasCommon(stated, digests)) {
    throw new WeftError('upstream', 'no-checksum', `${url.host} tells no checksum that could be compared`);
  }
}
