/** A queued file, in the order of its lane. */
export interface QueuedFile {
  readonly fileId: number;
  readonly jobId: string;
  readonly source: string;
  readonly destination: string;
  readonly destinationSurl: string;
  readonly vo: string;
  readonly activity: string;
  readonly priority: number;
}

/** What is running now, counted by the names that limits use. */
export interface Running {
  readonly source: string;
  readonly destination: string;
  readonly vo: string;
  readonly activity: string;
  readonly active: number;
}

export interface Limits {
  link(source: string, destination: string): number;
  inbound(storage: string): number;
  outbound(storage: string): number;
  /** Weight of a lane among those of its VO; 1 where nobody said anything. */
  share(vo: string, activity: string): number;
}

/**
 * Which files to start, at most `slots`, without exceeding the limit of a link or a storage (brief fts 3.6).
 *
 * Links take turns. Within a link the highest priority goes first; among equals the lane (VO and activity) that has the
 * least running for its share, then the older file. So an idle lane gets the next slot whatever the length of another
 * lane's queue, and the order explains itself: nothing is drawn by lot.
 */
export function chooseFiles(
  queued: readonly QueuedFile[],
  running: readonly Running[],
  limits: Limits,
  slots: number,
): QueuedFile[] {
  const outbound = new Counter();
  const inbound = new Counter();
  const links = new Counter();
  const lanes = new Counter();
  for (const { source, destination, vo, activity, active } of running) {
    outbound.add(source, active);
    inbound.add(destination, active);
    links.add(key(source, destination), active);
    lanes.add(key(source, destination, vo, activity), active);
  }

  const queues = new Map<string, QueuedFile[]>();
  for (const file of queued) {
    const link = key(file.source, file.destination);
    const queue = queues.get(link);
    if (queue) queue.push(file);
    else queues.set(link, [file]);
  }
  for (const [link, queue] of queues) queues.set(link, inFairOrder(queue, lanes, limits));

  const chosen: QueuedFile[] = [];
  const takenDestinations = new Set<string>();
  while (chosen.length < slots && queues.size > 0) {
    for (const [link, queue] of queues) {
      const file = queue.shift();
      if (
        file === undefined ||
        links.of(link) >= limits.link(file.source, file.destination) ||
        outbound.of(file.source) >= limits.outbound(file.source) ||
        inbound.of(file.destination) >= limits.inbound(file.destination)
      ) {
        queues.delete(link);
        continue;
      }
      // Two copies into one file at once would spoil each other.
      if (takenDestinations.has(file.destinationSurl)) continue;
      takenDestinations.add(file.destinationSurl);
      chosen.push(file);
      links.add(link, 1);
      outbound.add(file.source, 1);
      inbound.add(file.destination, 1);
      if (chosen.length === slots) break;
    }
  }
  return chosen;
}

/** Weighted fair queuing: the n-th file of a lane is due at (running + n) / share. */
function inFairOrder(queue: readonly QueuedFile[], lanes: Counter, limits: Limits): QueuedFile[] {
  const seen = new Counter();
  return queue
    .toSorted((a, b) => b.priority - a.priority || a.fileId - b.fileId)
    .map((file) => {
      const lane = key(file.source, file.destination, file.vo, file.activity);
      seen.add(lane, 1);
      return { file, due: (lanes.of(lane) + seen.of(lane)) / limits.share(file.vo, file.activity) };
    })
    .toSorted((a, b) => b.file.priority - a.file.priority || a.due - b.due || a.file.fileId - b.file.fileId)
    .map(({ file }) => file);
}

function key(...parts: readonly string[]): string {
  return parts.join('\n');
}

class Counter {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string, amount: number): void {
    this.#counts.set(name, this.of(name) + amount);
  }
}
