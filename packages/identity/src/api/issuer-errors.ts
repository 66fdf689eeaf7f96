import { type ErrorPrinter, toHttpFailure } from '@weft/kernel/http';
import type { Realm } from '../core/realm.ts';
import { placeOf } from './browser.ts';
import { printOAuthError } from './oauth-dialect.ts';
import { message } from './pages/forms.ts';
import { sendPage } from './pages/page.ts';

/** What people open; everything else is for programs. */
const PAGES = /^\/(login|approve|authorize|device|account|endsession)(\?|$)/;

/** Errors of an issuer: a page for people, RFC 6749 for programs. */
export function createIssuerErrorPrinter(realm: Realm): ErrorPrinter {
  return (error, request, reply) => {
    if (!PAGES.test(request.url)) return printOAuthError(error, request, reply);
    const { status, message: text } = toHttpFailure(error);
    sendPage(reply, { title: 'That did not work', place: placeOf(realm), status, body: message(text) });
  };
}
