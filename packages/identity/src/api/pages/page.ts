import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { type Html, html } from './html.ts';

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 26rem; margin: 10vh auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
label { display: block; margin: 1rem 0 .25rem; }
input { width: 100%; box-sizing: border-box; padding: .5rem; font: inherit; }
button { margin: 1.25rem .5rem 0 0; padding: .5rem 1.25rem; font: inherit; cursor: pointer; }
code, li { overflow-wrap: anywhere; }
.wrong { color: #b3261e; }
@media (prefers-color-scheme: dark) { .wrong { color: #f2b8b5; } }
`;

/** The style stands in the page; its hash is all that the policy lets through. */
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

export interface Page {
  title: string;
  body: Html;
  status?: number;
  /** Where a form of this page may lead in the end: browsers check every redirect (brief alise-aai 8.12). */
  formTarget?: string | undefined;
}

/** Sends a page that runs no script, loads nothing, and cannot be framed or kept. */
export function sendPage(reply: FastifyReply, { title, body, status = 200, formTarget }: Page): FastifyReply {
  const document = html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>`;
  const rest = html`</style></head>
<body><main><h1>${title}</h1>${body}</main></body>
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
