/**
 * Lets requests that come at the same time share one question. Whoever asks gets the answer to a question that was put
 * after they asked, so that sharing makes nobody's answer older than one of their own would be.
 */
export function createSharedAnswer<Answer>(ask: () => Promise<Answer>): () => Promise<Answer> {
  let running: Promise<Answer> | undefined;
  let next: Promise<Answer> | undefined;

  function start(): Promise<Answer> {
    const question = ask();
    running = question;
    const end = () => {
      if (running === question) running = undefined;
    };
    question.then(end, end);
    return question;
  }

  return () => {
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
