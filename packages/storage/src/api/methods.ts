/** Methods that the door speaks; RFC 9110, RFC 4918. */
export const METHODS = [
  'OPTIONS',
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'MKCOL',
  'COPY',
  'MOVE',
  'PROPFIND',
  'PROPPATCH',
  'LOCK',
  'UNLOCK',
] as const;

export type Method = (typeof METHODS)[number];

export const ALLOW = METHODS.join(', ');

/** Those that Fastify does not know by itself. */
export const WEBDAV_METHODS = ['MKCOL', 'COPY', 'MOVE', 'PROPFIND', 'PROPPATCH', 'LOCK', 'UNLOCK'] as const;

export function isMethod(name: string): name is Method {
  return METHODS.some((method) => method === name);
}
