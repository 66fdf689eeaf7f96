import { describeError } from '@weft/kernel/errors';
import { ownToken } from '../conveyor/storage-tokens.ts';
import type { Lake } from '../lake.ts';
import { didText } from '../names.ts';
import { pathOfReplica, pfnOf, protocolsFor } from '../rses/pfn.ts';
import { loadTopology, type Topology } from '../rses/topology.ts';
import { claimDeletions, type Deletion } from './claim-deletions.ts';
import { forgetReplicas } from './forget-replicas.ts';

const AT_ONCE = 8;

/**
 * Deletes files from storages with the datalake's own token, each for its own path, and then forgets the replicas. What
 * fails stays BEING_DELETED and is tried again later.
 */
export async function deleteReplicas(lake: Lake): Promise<'more' | 'idle'> {
  const claimed = await claimDeletions(lake);
  if (claimed.length === 0) return 'idle';
  const topology = await loadTopology(lake.database.sql);
  const gone: Deletion[] = [];
  const queue = [...claimed];
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      if (await deleteFile(lake, topology, next)) gone.push(next);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  await forgetReplicas(lake, gone);
  return gone.length > 0 ? 'more' : 'idle';
}

/** Whether the file is gone from the storage; one that was not there counts as deleted. */
async function deleteFile(lake: Lake, topology: Topology, deletion: Deletion): Promise<boolean> {
  const rse = topology.byId(deletion.rse_id);
  const [protocol] = rse ? protocolsFor(rse, 'wan_delete', ['davs', 'https']) : [];
  if (!rse || !protocol) {
    lake.log.warn({ did: didText(deletion), rse: rse?.rse }, 'the RSE offers no protocol to delete with');
    return false;
  }
  const url = pfnOf(protocol, pathOfReplica(rse, deletion, deletion.path)).replace(/^davs:/, 'https:');
  try {
    const token = await ownToken(lake, [url], ['modify']);
    const response = await lake.fetch(url, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${token}` },
    });
    await response.body?.cancel();
    if (response.ok || response.status === 404 || response.status === 410) return true;
    throw new Error(`the storage answered ${response.status}`);
  } catch (error) {
    lake.log.warn(
      { did: didText(deletion), rse: rse.rse, reason: describeError(error) },
      'a replica was not deleted',
    );
    return false;
  }
}
