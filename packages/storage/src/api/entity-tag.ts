import type { FileFacts } from '../core/files/types.ts';

/** A strong validator: another content has another inode, size or time (brief teapot 3.7). Quotes included. */
export function entityTag(facts: FileFacts): string {
  return `"${facts.inode.toString(36)}-${facts.size.toString(36)}-${facts.modifiedNs.toString(36)}"`;
}

/** RFC 1123 date, whole seconds. */
export function lastModified(facts: FileFacts): string {
  return printSeconds(facts.modifiedNs);
}

/**
 * Prints a time, given in nanoseconds, to the second. The last one is remembered: files that lie together were often
 * written together.
 */
export function printedSeconds(print: (date: Date) => string): (nanoseconds: bigint) => string {
  let last: { second: bigint; text: string } | undefined;
  return (nanoseconds) => {
    // Rounded down, also before 1970.
    const beyond = ((nanoseconds % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
    const second = (nanoseconds - beyond) / NANOSECONDS;
    if (last?.second === second) return last.text;
    const seconds = Math.max(-MAXIMUM_SECONDS, Math.min(MAXIMUM_SECONDS, Number(second)));
    const text = print(new Date(seconds * 1000));
    last = { second, text };
    return text;
  };
}

/** Around the epoch, that a Date can hold: a job may give a file a time that no calendar has. */
export const MAXIMUM_SECONDS = 8.64e12;
const NANOSECONDS = 1_000_000_000n;
const printSeconds = printedSeconds((date) => date.toUTCString());
