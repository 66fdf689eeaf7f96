import { WeftError } from '@weft/kernel/errors';
import type { OutgoingRules } from '@weft/kernel/http';
import type { Place } from '../areas.ts';
import { checksumsOf } from '../checksums/checksums-of.ts';
import { type Digests, digestStream } from '../checksums/digests.ts';
import type { Door } from '../door.ts';
import type { OpenFile } from '../files/types.ts';
import { compareWithRemote } from './compare-with-remote.ts';
import { type Answer, openPartner, type Partner } from './partner.ts';
import type { CopyOptions } from './pull.ts';
import { describeRequest, type RemoteFile } from './remote-file.ts';
import { remoteRefusal } from './remote-refusal.ts';
import { sendFile } from './send-file.ts';

const REMOVING_MILLISECONDS = 10_000;

/** What stands at the target before anything is sent, as far as the other side tells. */
export interface TargetBefore {
  /** 404 or 410: there is nothing. */
  readonly absent: boolean;
  /** Differs when somebody has written there. */
  readonly mark: string;
}

/**
 * Looks at the target before anything is sent.
 * @throws {WeftError} `precondition`: it exists and must not be replaced.
 */
export async function lookAtTarget(partner: Partner, { overwrite }: CopyOptions): Promise<TargetBefore> {
  const answer = await partner.ask({ method: 'HEAD' });
  answer.body.resume();
  if (!overwrite && isSuccess(answer)) {
    const { origin, pathname } = answer.url;
    throw new WeftError('precondition', 'exists', `${origin}${pathname} exists, and Overwrite is F.`);
  }
  return before(answer);
}

function before({ status, header }: Answer): TargetBefore {
  const facts = ['etag', 'last-modified', 'content-length'].map((name) => header(name) ?? '');
  return { absent: status === 404 || status === 410, mark: [status, ...facts].join('\n') };
}

/**
 * Sends a file to another server, then compares size and checksum with what that server says it has. What the other side
 * has taken and is not right is removed there; after a refusal nothing is, because what stands there is older.
 */
export async function push(
  door: Door,
  place: Place,
  file: OpenFile,
  remote: RemoteFile,
  partner: Partner,
  target: TargetBefore,
  { watch, requireChecksum }: CopyOptions,
): Promise<void> {
  const { facts } = file;
  const known = await checksumsOf(door, place, facts, []);
  let sums = digestStream(['adler32']);
  let answer: Answer;
  try {
    answer = await partner.ask({
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      content: {
        bytes: facts.size,
        expect: facts.size >= door.config.third_party_copy.expect_continue_bytes,
        writeTo: async (request, stop) => {
          sums = digestStream(['adler32']);
          await sendFile(request, file, stop, (part, sent) => {
            if (known.adler32 === undefined) sums.update(part);
            watch.moved(sent);
          });
          if (stop.aborted || request.destroyed) return;
          watch.moved(facts.size);
          // Before it answers, the other side may sum what it got, and wait for its disk.
          watch.summing(facts.size);
        },
      },
    });
  } catch (error) {
    await removeStump(door, remote, target);
    throw error;
  }
  if (!isSuccess(answer)) throw await remoteRefusal('PUT', answer);
  answer.body.resume();
  try {
    if (watch.bytes() < facts.size) {
      const text = `${describeRequest('PUT', answer.url)} answered ${answer.status} before it had all of the file`;
      throw new WeftError('upstream', 'early-success', text);
    }
    const now = await file.refresh();
    if (now.size !== facts.size || now.modifiedNs !== facts.modifiedNs) {
      throw new WeftError('unavailable', 'changing-file', 'The file was changed while it was being sent');
    }
    const digests: Digests = known.adler32 === undefined ? { ...known, ...sums.finish() } : known;
    if (known.adler32 === undefined) {
      await door.journal.write({ checksums: [{ area: place.area.name, facts, digests }] });
    }
    watch.summing(facts.size);
    await compareWithRemote(partner, {
      sizeBytes: facts.size,
      digests,
      compute: (algorithms) => checksumsOf(door, place, facts, algorithms),
      mustExist: true,
      requireChecksum,
    });
    watch.signal.throwIfAborted();
  } catch (error) {
    await withFreshPartner(door, remote, remove);
    throw error;
  }
}

/** After a connection that broke: some servers keep what they got, under the name of the file. */
async function removeStump(door: Door, remote: RemoteFile, target: TargetBefore): Promise<void> {
  await withFreshPartner(door, remote, async (partner) => {
    const answer = await partner.ask({ method: 'HEAD' });
    answer.body.resume();
    if (!isSuccess(answer)) return;
    // What is as it was before is an older file, which the other side has kept.
    if (target.absent || before(answer).mark !== target.mark) await remove(partner);
  });
}

async function remove(partner: Partner): Promise<void> {
  const answer = await partner.ask({ method: 'DELETE' });
  if (!isSuccess(answer) && answer.status !== 404) throw await remoteRefusal('DELETE', answer);
  answer.body.resume();
}

/** Best effort, with connections and time of its own: the copy's signal may be what ended it. */
async function withFreshPartner(
  door: Door,
  remote: RemoteFile,
  work: (partner: Partner) => Promise<void>,
): Promise<void> {
  const outgoing: OutgoingRules = door.context.outgoing;
  const partner = openPartner(outgoing, remote, AbortSignal.timeout(REMOVING_MILLISECONDS));
  try {
    await work(partner);
  } catch (error) {
    door.context.log.warn(
      { error, remote: describeRequest('DELETE', remote.url) },
      'a failed copy could not be removed at the other side',
    );
  } finally {
    partner.close();
  }
}

function isSuccess({ status }: Answer): boolean {
  return status >= 200 && status <= 299;
}
