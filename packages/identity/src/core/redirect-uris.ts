import type { Client } from './clients.ts';

const LOOPBACK_HOSTS = ['127.0.0.1', '[::1]', 'localhost'];

/** Whether a redirect may go there: exactly as registered; on loopback any port will do (RFC 8252 7.3). */
export function isRegisteredRedirect(client: Client, redirectUri: string): boolean {
  if (client.redirectUris.includes(redirectUri)) return true;
  const wanted = withoutLoopbackPort(redirectUri);
  return (
    wanted !== undefined &&
    client.redirectUris.some((registered) => withoutLoopbackPort(registered) === wanted)
  );
}

/**
 * Why a URI cannot be registered; `undefined` when it can: https, http on loopback, or the private scheme of a native
 * application (`edu.kit.data.oidc-agent:/redirect`), which has a dot in it (RFC 8252 7.1).
 */
export function redirectUriFault(redirectUri: string): string | undefined {
  // What parsers drop or write in another way (line ends, blanks, other scripts) is not in a URI (RFC 3986 section 2).
  if (!/^[\x21-\x7e]+$/.test(redirectUri) || !URL.canParse(redirectUri) || redirectUri.includes('#'))
    return 'is not an absolute URI without a fragment';
  const { protocol, hostname, username, password } = new URL(redirectUri);
  // Parsers let more through, which would be a word of its own, or a wildcard, in the policy of our pages.
  if (!/^([a-z0-9._-]*|\[[0-9a-f:.]+\])$/i.test(hostname)) return 'has a host that is no name';
  if (username !== '' || password !== '') return 'contains credentials';
  if (protocol === 'https:') return undefined;
  if (protocol === 'http:')
    return LOOPBACK_HOSTS.includes(hostname) ? undefined : 'is http on a host that is not loopback';
  return protocol.includes('.') ? undefined : `has the scheme ${protocol}`;
}

function withoutLoopbackPort(uri: string): string | undefined {
  if (!URL.canParse(uri)) return undefined;
  const url = new URL(uri);
  if (url.protocol !== 'http:' || !LOOPBACK_HOSTS.includes(url.hostname)) return undefined;
  url.port = '';
  return url.href;
}
