import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../areas.ts';
import { checksumsOf } from '../checksums/checksums-of.ts';
import type { Door } from '../door.ts';
import type { OpenFile } from '../files/types.ts';
import { type CopyOptions, compareWithRemote } from './pull.ts';
import { askRemote, describe, type RemoteFile, remoteRefusal } from './remote.ts';

const CHUNK_BYTES = 256 * 1024;

/** Before anything is sent: a target that exists and must not be replaced. @throws {WeftError} `precondition`. */
export async function refuseExistingTarget(
  door: Door,
  remote: RemoteFile,
  signal: AbortSignal,
): Promise<void> {
  const { response, url } = await askRemote(door.context.fetch, remote, { method: 'HEAD', signal });
  await response.body?.cancel();
  if (response.ok)
    throw new WeftError('precondition', 'exists', `${url.origin}${url.pathname} exists, and Overwrite is F.`);
}

/**
 * Sends a file to another server, then compares size and checksum with what that server says it has. A copy that the
 * other side took but that is not right is removed there; after a refusal nothing is, because what stands there is older.
 */
export async function push(
  door: Door,
  place: Place,
  file: OpenFile,
  remote: RemoteFile,
  options: CopyOptions,
): Promise<void> {
  const { fetch } = door.context;
  const { signal } = options;
  const { facts } = file;
  const answer = await askRemote(
    fetch,
    remote,
    {
      method: 'PUT',
      headers: { 'content-length': String(facts.size), 'content-type': 'application/octet-stream' },
      signal,
    },
    () => contentOf(file, options.onProgress),
  );
  await answer.response.body?.cancel();
  if (!answer.response.ok) throw remoteRefusal('PUT', answer);
  try {
    const now = await file.refresh();
    if (now.size !== facts.size || now.modifiedNs !== facts.modifiedNs) {
      throw new WeftError('unavailable', 'changing-file', 'The file was changed while it was being sent');
    }
    const digests = await checksumsOf(door, place, facts, ['adler32']);
    await compareWithRemote(door, remote, facts.size, digests, options);
  } catch (error) {
    await removeRemote(door, remote);
    throw error;
  }
}

async function* contentOf(file: OpenFile, onProgress: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for (let position = 0; position < file.facts.size; ) {
    onProgress(position);
    // A buffer of its own each: what is handed over may be sent long after we go on.
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, file.facts.size - position));
    const bytes = await file.read(buffer, position);
    if (bytes < buffer.length)
      throw new WeftError('unavailable', 'changing-file', 'The file became shorter while it was being sent');
    position += bytes;
    yield buffer;
  }
  onProgress(file.facts.size);
}

/** Best effort, with time of its own: the copy's signal may be what ended it. */
async function removeRemote(door: Door, remote: RemoteFile): Promise<void> {
  try {
    const { response } = await askRemote(door.context.fetch, remote, {
      method: 'DELETE',
      signal: AbortSignal.timeout(10_000),
    });
    await response.body?.cancel();
  } catch (error) {
    door.context.log.warn(
      { error, remote: describe('DELETE', remote.url) },
      'a failed copy could not be removed at the other side',
    );
  }
}
