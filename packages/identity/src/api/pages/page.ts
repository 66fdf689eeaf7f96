import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { type Html, html } from './html.ts';

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 30rem; margin: 10vh auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
label { display: block; margin: 1rem 0 .25rem; }
input { width: 100%; box-sizing: border-box; padding: .5rem; font: inherit; }
button { margin: 1.25rem .5rem 0 0; padding: .5rem 1.25rem; font: inherit; cursor: pointer; }
code, li { overflow-wrap: anywhere; }
.links { list-style: none; padding: 0; }
.links li { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .5rem; padding: .75rem 1rem; margin: .75rem 0; }
.links button { margin-top: .5rem; }
.quiet { background: none; border: 1px solid color-mix(in srgb, currentColor 40%, transparent); border-radius: .25rem; color: inherit; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
:focus-visible { outline: 3px solid #1a73e8; outline-offset: 2px; }
.notice { border-left: .25rem solid #2e7d32; padding-left: .75rem; }
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
  /** Several of them. */
  formTargets?: readonly string[];
}

/** Sends a page that runs no script, loads nothing, and cannot be framed or kept. */
export function sendPage(
  reply: FastifyReply,
  { title, body, status = 200, formTarget, formTargets = [] }: Page,
): FastifyReply {
  const targets = [...formTargets, ...(formTarget === undefined ? [] : [formTarget])];
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
        ["form-action 'self'", ...new Set(targets.map(sourceOf))].join(' '),
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
