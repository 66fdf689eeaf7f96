import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Lets requests that come at the same time share one question. Whoever asks gets the answer to a question that was put
 * after they asked, or at most `validMilliseconds` before: without those, sharing makes nobody's answer older than one of
 * their own would be.
 */
export function createSharedAnswer<Answer>(
  ask: () => Promise<Answer>,
  validMilliseconds = 0,
): () => Promise<Answer> {
  let running: Promise<Answer> | undefined;
  let next: Promise<Answer> | undefined;
  let latest: { answer: Promise<Answer>; askedAt: number } | undefined;

  function start(): Promise<Answer> {
    const question = ask();
    running = question;
    const asked = { answer: question, askedAt: performance.now() };
    if (validMilliseconds > 0) latest = asked;
    const end = () => {
      if (running === question) running = undefined;
    };
    question.then(end, () => {
      end();
      if (latest === asked) latest = undefined;
    });
    return question;
  }

  return () => {
    if (latest && performance.now() - latest.askedAt < validMilliseconds) return latest.answer;
    if (!running) return start();
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = undefined;
        return start();
      });
    return next;
  };
}

/**
 * How long a process may believe that there is none of something that requests rarely make. Whoever makes the first one
 * waits for longer than that before they say that it is there, so that nobody who heard of it meets the old belief.
 */
export const BELIEF_MILLISECONDS = 20;

/** To be awaited between the commit of what others may believe is not there, and the answer that it is. */
export function untilBelieved(): Promise<void> {
  return sleep(BELIEF_MILLISECONDS * 1.5);
}
