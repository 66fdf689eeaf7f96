/** A sleep that can be cut short; a ring while nobody sleeps is kept for the next sleep. */
export interface Alarm {
  /** Sleeps until `ring`, or `milliseconds`. */
  sleep(milliseconds: number): Promise<void>;
  ring(): void;
}

export function createAlarm(): Alarm {
  let rung = false;
  let wake: (() => void) | undefined;
  return {
    sleep(milliseconds) {
      if (rung) {
        rung = false;
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        const timer = setTimeout(end, Math.max(0, milliseconds));
        function end() {
          clearTimeout(timer);
          wake = undefined;
          rung = false;
          resolve();
        }
        wake = end;
      });
    },
    ring() {
      rung = true;
      wake?.();
    },
  };
}
