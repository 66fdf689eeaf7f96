import { describeError } from '@weft/kernel/errors';
import type { Areas } from './areas.ts';
import type { Door } from './door.ts';
import { isMakerGone } from './files/staging.ts';
import { recoverChanges } from './recover-changes.ts';
import type { Usage } from './space/usage.ts';

const EVERY_MILLISECONDS = 30_000;

/**
 * What a process that died has left is taken care of by those that go on, at once: the less time passes, the less of it has
 * been changed again. Whoever takes its place looks too, when it starts.
 */
export function startTidying(
  door: Door,
  { notes, areas, usage }: { notes: string; areas: Areas; usage: Usage },
): { stop(): Promise<void> } {
  if (door.context.siblings.count === 1) return { stop: async () => undefined };
  let running = Promise.resolve();

  async function tidy(): Promise<void> {
    try {
      await recoverChanges(door, notes);
      await usage.dropClaims(isMakerGone);
      for (const { files } of areas.all) await files.sweep();
    } catch (error) {
      door.context.log.warn({ error: describeError(error) }, 'what others left could not be tidied up');
    }
  }

  const soon = () => {
    running = running.then(tidy);
  };
  door.context.siblings.onGone(soon);
  const timer = setInterval(soon, EVERY_MILLISECONDS);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
