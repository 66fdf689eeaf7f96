/** One replica: which file, where. */
export interface ReplicaKey {
  didId: number;
  rseId: string;
}
