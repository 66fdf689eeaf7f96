import type { OwnApplication, OwnSession } from '../../core/own-account.ts';
import { hidden } from './forms.ts';
import { type Html, html } from './html.ts';

export interface AccountSeen {
  readonly username: string;
  readonly subject: string;
  /** Of the browser that asks. */
  readonly sessionId: string;
  readonly sessions: readonly OwnSession[];
  readonly applications: readonly OwnApplication[];
  readonly notice?: string | undefined;
}

/** Where somebody is signed in, and what acts for her; each can be ended here. */
export function accountPage(csrf: string, seen: AccountSeen): Html {
  const notice =
    seen.notice === undefined ? undefined : html`<p class="notice" role="status">${seen.notice}</p>`;
  return html`${notice}
<p>You are <strong>${seen.username}</strong>, identifier <code>${seen.subject}</code>.</p>
<h2>Where you are signed in</h2>
<ul class="cards">${seen.sessions.map((session) => sessionItem(csrf, session, seen.sessionId))}</ul>
<form method="post" action="/account/sign-out">${hidden('csrf', csrf)}
<div class="buttons"><button class="quiet" name="session" value="all">Sign out everywhere</button></div></form>
<h2>Applications that stay connected</h2>
${
  seen.applications.length === 0
    ? html`<p>None.</p>`
    : html`<ul class="cards">${seen.applications.map((application) => applicationItem(csrf, application))}</ul>`
}
<p class="apart"><a href="/account/data">Download what is kept about you</a></p>`;
}

function sessionItem(csrf: string, session: OwnSession, own: string): Html {
  const here = session.id === own ? html` <strong>(this browser)</strong>` : undefined;
  const name = browserName(session.browser ?? '');
  return html`<li class="card"><div>${name}${here}<br>
<span class="soft">since ${moment(session.began)}, last seen ${moment(session.lastSeen)}${session.address === null ? '' : `, from ${session.address}`}</span></div>
<form method="post" action="/account/sign-out">${hidden('csrf', csrf)}${hidden('session', session.id)}
<button class="quiet" aria-label="Sign out of ${name}, since ${minuteOf(session.began)}">Sign out</button></form></li>`;
}

function applicationItem(csrf: string, application: OwnApplication): Html {
  return html`<li class="card"><div><strong>${application.name}</strong><br>
<code>${application.scopes.join(' ')}</code><br>
<span class="soft">since ${moment(application.since)}, until ${moment(application.expiresAt)}</span></div>
<form method="post" action="/account/disconnect">${hidden('csrf', csrf)}${hidden('application', application.family)}
<button class="quiet" aria-label="Disconnect ${application.name}">Disconnect</button></form></li>`;
}

function moment(at: Date): Html {
  return html`<time>${minuteOf(at)}</time>`;
}

/** `2026-11-22 14:05 UTC` */
function minuteOf(at: Date): string {
  return `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** The first that fits: most browsers also say that they are some others. */
const BROWSERS = [/Firefox/, /Edg(?=\/)/, /OPR/, /Chrome/, /Safari/, /^[\w.-]{1,40}(?=\/)/];
const SYSTEMS = [/Windows/, /Android/, /iPhone|iPad/, /Mac OS X/, /Linux/];
const SHORT = new Map([
  ['Edg', 'Edge'],
  ['OPR', 'Opera'],
  ['Mac OS X', 'macOS'],
]);

/** `Firefox on Linux`, out of what a browser calls itself. */
function browserName(agent: string): string {
  const [browser, system] = [BROWSERS, SYSTEMS].map((known) => {
    const found = known.map((each) => each.exec(agent)?.[0]).find((each) => each !== undefined);
    return found === undefined ? undefined : (SHORT.get(found) ?? found);
  });
  return `${browser ?? 'A browser'}${system === undefined ? '' : ` on ${system}`}`;
}
