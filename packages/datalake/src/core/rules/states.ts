/**
 * States of a rule (brief rucio-daemons 3.2). `locks.ts` lets them follow the lock counters.
 *
 * | from              | to                        | when                                                   |
 * | ----------------- | ------------------------- | ------------------------------------------------------ |
 * | INJECT            | REPLICATING, OK, STUCK    | the injector has applied it                             |
 * | WAITING_APPROVAL  | INJECT, deleted           | an approver decided                                     |
 * | SUSPENDED         | REPLICATING, OK, STUCK    | an operator let it go on                                |
 * | any but SUSPENDED, WAITING_APPROVAL | STUCK   | at least one lock is STUCK                              |
 * |                   | REPLICATING               | no lock is STUCK, at least one is REPLICATING           |
 * |                   | OK                        | all locks are OK, or there are none                     |
 * | STUCK             | SUSPENDED                 | it has been stuck for two weeks                         |
 */

/** How many locks of a rule are in which state. */
export interface LockCounts {
  ok: number;
  replicating: number;
  stuck: number;
}
