/**
 * Inodes are unsigned numbers of 64 bits, PostgreSQL's are signed: the same bits. Times in nanoseconds may need more (whoever
 * owns a file may say that it is of the year 5000), and are cut to them: what nobody can store would keep everybody waiting
 * whose changes are recorded in the same transaction.
 */
export function signed(bits: bigint): string {
  return String(BigInt.asIntN(64, bits));
}
