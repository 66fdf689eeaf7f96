import type { Digests } from '../checksums/digests.ts';
import { statedDigests } from '../checksums/stated-digests.ts';
import type { Answer, Partner } from './partner.ts';

/** Every dialect in which a partner may tell a checksum (RFC 3230, RFC 9530; brief teapot 2.5). */
const WANT_DIGEST = {
  'want-digest': 'adler32,md5;q=0.5,crc32c;q=0.4',
  'want-repr-digest': 'adler=4,md5=2',
};

export interface DigestedAnswer extends Answer {
  /** What the partner says that its file sums up to. @throws {WeftError} `invalid`: a value that cannot be one. */
  digests(): Digests;
}

/**
 * Asks for a file, or about it, and for its checksum. A server error may come from the checksum alone (XRootD 5 answers 500
 * where it would say 404 or 403 without that wish): then it is asked again without, and what it tells of checksums all the
 * same is not believed (XRootD 5 repeats what it told another request).
 */
export async function askWithDigest(partner: Partner, method: 'GET' | 'HEAD'): Promise<DigestedAnswer> {
  const answer = await partner.ask({ method, headers: WANT_DIGEST });
  if (answer.status !== 500) return { ...answer, digests: () => statedDigests(answer.header) };
  answer.body.resume();
  return { ...(await partner.ask({ method })), digests: () => ({}) };
}
