/** A site of the embedded federation (brief dashboard-and-example B5). */
export interface Site {
  readonly name: string;
  /** Position in the list: decides its loopback address and its ports. */
  readonly index: number;
  readonly host: string;
  readonly rse: string;
  readonly compute?: {
    readonly node: string;
    readonly backend: 'auto' | 'sandbox';
    readonly slots: number;
  };
}

const linux = process.platform === 'linux';

/**
 * FTS knows a storage by its host without the port, so each site has a loopback address of its own; where the system has
 * only 127.0.0.1 they share `localhost`, and limits per storage then hold for all of them together.
 */
const host = (index: number): string => (linux ? `127.0.0.${11 + index}` : 'localhost');

export const SITES: readonly Site[] = [
  { name: 'observatory', index: 0, host: host(0), rse: 'OBS-DISK' },
  {
    name: 'hpc',
    index: 1,
    host: host(1),
    rse: 'HPC-SCRATCH',
    compute: { node: 'vn-hpc', backend: 'auto', slots: 2 },
  },
  {
    name: 'cloud',
    index: 2,
    host: host(2),
    rse: 'CLOUD-DISK',
    compute: { node: 'vn-cloud', backend: 'sandbox', slots: 1 },
  },
];
