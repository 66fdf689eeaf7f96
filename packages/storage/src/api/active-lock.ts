import type { Lock } from '../core/locks.ts';
import { encodePath } from '../core/resource-path.ts';
import { escapeXml } from './xml.ts';

/** `activelock` of RFC 4918 section 14.1, under the prefix `d:`. */
export function printActiveLock(held: Lock): string {
  const seconds = Math.max(0, Math.round((held.expiresAt.getTime() - Date.now()) / 1000));
  const segments = held.path.split('/').filter((segment) => segment !== '');
  return (
    '<d:activelock><d:locktype><d:write/></d:locktype>' +
    `<d:lockscope><d:${held.shared ? 'shared' : 'exclusive'}/></d:lockscope>` +
    `<d:depth>${held.deep ? 'infinity' : '0'}</d:depth>${held.owner}` +
    `<d:timeout>Second-${seconds}</d:timeout>` +
    `<d:locktoken><d:href>${escapeXml(held.token)}</d:href></d:locktoken>` +
    `<d:lockroot><d:href>${escapeXml(encodePath(segments))}</d:href></d:lockroot></d:activelock>`
  );
}
