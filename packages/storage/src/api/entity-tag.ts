import type { FileFacts } from '../core/files/types.ts';

/** A strong validator: another content has another inode, size or time (brief teapot 3.7). Quotes included. */
export function entityTag(facts: FileFacts): string {
  return `"${facts.inode.toString(36)}-${facts.size.toString(36)}-${facts.modifiedNs.toString(36)}"`;
}

/** RFC 1123 date, whole seconds. */
export function lastModified(facts: FileFacts): string {
  return new Date(Number(facts.modifiedNs / 1_000_000n)).toUTCString();
}
