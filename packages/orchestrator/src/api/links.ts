import type { FastifyRequest } from 'fastify';

export interface Link {
  readonly rel: string;
  readonly href: string;
}

/**
 * The address under which the client sees this service: links must lead through the same proxy (brief 8.12). Forwarded
 * headers are honoured; without them it is the configured URL.
 */
export function baseUrl(request: FastifyRequest, configured: string): string {
  const host = forwarded(request, 'x-forwarded-host');
  if (host === undefined) return configured;
  const protocol = forwarded(request, 'x-forwarded-proto') ?? 'https';
  const port = forwarded(request, 'x-forwarded-port');
  const prefix = forwarded(request, 'x-forwarded-prefix') ?? '';
  if (!/^https?$/.test(protocol) || !/^[\w.:[\]-]+$/.test(host) || !/^(\/[\w.~-]+)*\/?$/.test(prefix))
    return configured;
  const usual = protocol === 'https' ? '443' : '80';
  const hasPort = /:\d+$/.test(host) || port === undefined || port === usual || !/^\d+$/.test(port);
  return `${protocol}://${host}${hasPort ? '' : `:${port}`}${prefix.replace(/\/$/, '')}`;
}

/** The first of possibly several values. */
function forwarded(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  const first = (Array.isArray(value) ? value[0] : value)?.split(',', 1)[0]?.trim();
  return first === '' ? undefined : first;
}
