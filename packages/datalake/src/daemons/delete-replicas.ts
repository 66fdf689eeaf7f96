import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { deleteReplicas } from '../core/deletion/delete-replicas.ts';
import { CHANNELS, type Lake } from '../core/lake.ts';

/** Deletes replicas that nobody holds any more. */
export const startDeleteReplicas = (lake: Lake): Daemon =>
  startLoop({ ...lake, name: CHANNELS.replicaUnlocked, everySeconds: 30 }, () => deleteReplicas(lake));
