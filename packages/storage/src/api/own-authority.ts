import type { IncomingMessage } from 'node:http';
import type { Door } from '../core/door.ts';

/** Whether a URL names this service: by a configured authority, or by the one that the request itself was sent to. */
export function isOwnAuthority(door: Door, request: IncomingMessage, url: string): boolean {
  const authority = /^(?:https?|davs?):\/\/([^/?#]*)/i.exec(url)?.[1]?.toLowerCase().replace(/:443$/, '');
  const host = request.headers.host?.toLowerCase().replace(/:443$/, '');
  return authority !== undefined && (authority === host || door.authorities.has(authority));
}
