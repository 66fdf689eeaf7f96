import type { ComponentContext, Daemon } from '@weft/kernel/component';
import { describeError } from '@weft/kernel/errors';
import { startLoop } from '@weft/kernel/work';
import type { TransferConfig } from '../config.ts';
import { CANCEL_CHANNEL, QUEUE_CHANNEL } from '../core/announce.ts';
import { claimFiles } from '../core/claim-files.ts';
import { createHand, type Hand } from '../core/hand.ts';
import { claimLeftovers } from '../core/leftovers.ts';
import {
  giveBackForgotten,
  type MoverIdentity,
  recoverFiles,
  registerMover,
  renewLease,
  retireMover,
  thisMover,
} from '../core/movers.ts';

const LEFTOVERS_AT_ONCE = 20;

/**
 * The data path: claims queued files, has them copied from storage to storage, and settles how that ended. One process
 * carries many copies at once; any number of processes may run.
 *
 * A mover holds a lease on all its files. Whoever dies loses them to the next mover: at once when that one runs on the
 * same machine and sees that the process is gone, else when the lease ends. A mover that cannot renew its lease in time
 * stops its copies by itself, before another may begin them again, and goes on under a new name.
 */
export async function startMoveFiles(context: ComponentContext<TransferConfig>): Promise<Daemon> {
  const { database, wakeUps } = context;
  const { concurrency, lease_seconds: leaseSeconds } = context.config.mover;
  const log = context.log.child({ daemon: 'move-files' });

  let me: MoverIdentity;
  let hand: Hand;
  /** When the lease was last known to be good; it is trusted for seven tenths of its length. */
  let renewedAt: number;
  let stopping = false;
  await begin();
  await recover();

  const claiming = startLoop(
    { database, wakeUps, log, name: 'transfer.move-files', channels: [QUEUE_CHANNEL], everySeconds: 1 },
    async () => {
      const slots = concurrency - hand.size;
      if (slots <= 0 || !leaseIsGood()) return 'idle';
      const mine = hand;
      const { files, more } = await claimFiles(context, me, slots);
      for (const file of files) mine.start(file);
      return more ? 'more' : 'idle';
    },
  );

  const cleaning = startLoop(
    { database, wakeUps, log, name: 'transfer.clean-destinations', everySeconds: 10 },
    async () => {
      if (!leaseIsGood()) return 'idle';
      const mine = hand;
      const leftovers = await claimLeftovers(context, me.moverId, LEFTOVERS_AT_ONCE);
      await Promise.all(leftovers.map((leftover) => mine.clean(leftover)));
      return leftovers.length === LEFTOVERS_AT_ONCE ? 'more' : 'idle';
    },
  );

  const unsubscribe = wakeUps.on(
    CANCEL_CHANNEL,
    inBackground('looking for canceled files', () => hand.stopCanceled()),
  );
  const timers = [
    setInterval(inBackground('keeping the lease', keepLease), (leaseSeconds * 1000) / 4),
    setInterval(
      inBackground('recording progress', () => hand.writeProgress()),
      1000,
    ),
  ];

  async function begin(): Promise<void> {
    const fresh = thisMover();
    const askedAt = performance.now();
    await registerMover(database, fresh, leaseSeconds);
    me = fresh;
    hand = createHand(context, fresh.moverId, () => claiming.nudge());
    renewedAt = askedAt;
  }

  function leaseIsGood(): boolean {
    return !stopping && performance.now() - renewedAt < leaseSeconds * 700;
  }

  async function keepLease(): Promise<void> {
    const wasGood = leaseIsGood();
    // No word from the database for too long: others may have begun with these files.
    if (!wasGood) void hand.stop('lease-lost');
    const askedAt = performance.now();
    const renewed = await renewLease(database, me.moverId, leaseSeconds);
    if (stopping) return;
    if (!renewed || !wasGood) await beginAgain();
    else renewedAt = askedAt;
    await hand.stopCanceled();
    await recover();
    const forgotten = await giveBackForgotten(database, wakeUps, me.moverId, hand.fileIds());
    if (forgotten > 0) log.warn({ files: forgotten }, 'gave back files that nobody worked on');
  }

  async function beginAgain(): Promise<void> {
    log.warn('the lease was lost; beginning again under a new name');
    const former = { hand, moverId: me.moverId };
    await Promise.all([former.hand.stop('lease-lost'), begin()]);
    // Whatever nobody has taken over yet.
    await retireMover(database, wakeUps, former.moverId);
    claiming.nudge();
  }

  async function recover(): Promise<void> {
    const files = await recoverFiles(database, wakeUps, me);
    if (files > 0) log.warn({ files }, 'took back the files of movers that died');
  }

  /** For timers and hints: never two at a time, and a failure (the database is away) only waits for the next one. */
  function inBackground(what: string, work: () => Promise<void>): () => void {
    let busy = false;
    return () => {
      if (busy || stopping) return;
      busy = true;
      work()
        .catch((error: unknown) => log.warn({ reason: describeError(error) }, `${what} failed`))
        .finally(() => {
          busy = false;
        });
    };
  }

  return {
    nudge: claiming.nudge,
    async stop() {
      stopping = true;
      unsubscribe();
      for (const timer of timers) clearInterval(timer);
      await Promise.all([claiming.stop(), cleaning.stop()]);
      await hand.stop('shutdown');
      await retireMover(database, wakeUps, me.moverId);
    },
  };
}
