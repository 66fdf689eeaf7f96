/** A background loop: started by calling the factory, stopped by `stop`, woken early by `nudge`. */
export interface Daemon {
  /** Ends after the item in hand; resolves when everything is released. */
  stop(): Promise<void>;
  /** Hint that there may be work now. */
  nudge(): void;
}
