import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { type Html, html } from './html.ts';
import { STYLE } from './style.ts';

/** The style stands in the page; its hash is all that the policy lets through. */
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

export interface Page {
  title: string;
  /** Whose page this is: stands above it and in the title of the window. */
  place: string;
  body: Html;
  status?: number;
  /** Where a form of this page may lead in the end: browsers check every redirect (brief alise-aai 8.12). */
  formTarget?: string | undefined;
  /** The browser goes there by itself. */
  goesTo?: string;
}

/** Sends a page that runs no script, loads nothing, and cannot be framed or kept. */
export function sendPage(
  reply: FastifyReply,
  { title, place, body, status = 200, formTarget, goesTo }: Page,
): FastifyReply {
  const refresh =
    goesTo === undefined ? undefined : html`<meta http-equiv="refresh" content="0;url=${goesTo}">`;
  const document = html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">${refresh}<title>${title} – ${place}</title><style>`;
  const rest = html`</style></head>
<body><header>${place}</header><main><h1>${title}</h1>
${body}
</main></body>
</html>
`;
  return reply
    .code(status)
    .headers({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'content-security-policy': [
        "default-src 'none'",
        `style-src 'sha256-${STYLE_HASH}'`,
        `form-action 'self'${formTarget === undefined ? '' : ` ${sourceOf(formTarget)}`}`,
        "frame-ancestors 'none'",
        "base-uri 'none'",
      ].join('; '),
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    })
    .send(document.text + STYLE + rest.text);
}

/** A URL as a source of a content security policy: an origin, or the scheme of a native application. */
function sourceOf(target: string): string {
  const { origin, protocol } = new URL(target);
  return origin === 'null' ? protocol : origin;
}
