import type { PendingDevice } from '../../core/device-codes.ts';
import { type Html, html } from './html.ts';

export const hidden = (name: string, value: string) =>
  html`<input type="hidden" name="${name}" value="${value}">`;

const alert = (text: string | undefined) =>
  text === undefined ? undefined : html`<p class="wrong" role="alert">${text}</p>`;

export interface SignIn {
  readonly csrf: string;
  /** Where the browser goes on to afterwards. */
  readonly returnTo: string;
  /** The application that sent the person here. */
  readonly application?: string | undefined;
  /** What was wrong with the last attempt. */
  readonly wrong?: string | undefined;
  readonly username?: string | undefined;
}

/** Name and password. */
export function signInForm({ csrf, returnTo, application, wrong, username }: SignIn): Html {
  const name =
    username === undefined
      ? html`<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>`
      : html`<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required value="${username}">`;
  const password =
    username === undefined
      ? html`<input id="password" name="password" type="password" autocomplete="current-password" required>`
      : html`<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>`;
  return html`${application === undefined ? undefined : html`<p>to go on to <strong>${application}</strong></p>`}
${alert(wrong)}
<form method="post" action="/login">
${hidden('csrf', csrf)}${hidden('return', returnTo)}
<label for="username">User name</label>
${name}
<label for="password">Password</label>
${password}
<div class="buttons wide"><button>Sign in</button></div>
</form>`;
}

/** What a client will get, and the choice. `fields` go back with the answer. */
export function approvalForm(
  action: string,
  fields: Readonly<Record<string, string>>,
  request: {
    clientName: string;
    clientId: string;
    scopes: readonly string[];
    audiences: readonly string[];
    username: string;
    selfRegistered: boolean;
  },
): Html {
  return html`<p><strong>${request.clientName}</strong> asks to act for you, <strong>${request.username}</strong>.</p>
${request.selfRegistered ? html`<p class="warning">This application has registered itself: anybody can choose that name. Allow it only if you have just started it.</p>` : undefined}
<h2>It would get</h2>
<ul>${request.scopes.map((scope) => html`<li><code>${scope}</code>${meaningOf(scope)}</li>`)}</ul>
<h2>At</h2>
${
  request.audiences.length === 0
    ? html`<p>any service that it names later.</p>`
    : html`<ul>${request.audiences.map((audience) => html`<li><code>${audience}</code></li>`)}</ul>`
}
<form method="post" action="${action}">
${Object.entries(fields).map(([name, value]) => hidden(name, value))}
<div class="buttons"><button name="decision" value="allow">Allow</button><button name="decision" value="deny" class="quiet">Deny</button></div>
</form>
<p class="soft apart">Application <code>${request.clientId}</code></p>`;
}

const MEANINGS: readonly [name: string, meaning: string][] = [
  ['openid', 'who you are'],
  ['profile', 'your name and user name'],
  ['email', 'your e-mail address'],
  ['offline_access', 'stay connected while you are away'],
  ['wlcg.groups', 'your groups'],
  ['storage.read', 'read files below this path'],
  ['storage.create', 'add files below this path'],
  ['storage.modify', 'change and delete files below this path'],
  ['storage.stage', 'bring files back from tape'],
  ['compute.read', 'see your jobs'],
  ['compute.create', 'start jobs'],
  ['compute.cancel', 'stop jobs'],
  ['compute.modify', 'change jobs'],
];

/** In words, for scopes that people meet often. */
function meaningOf(scope: string): Html | undefined {
  const found = MEANINGS.find(([name]) => scope === name || scope.startsWith(`${name}:`));
  return found && html` <span class="soft">– ${found[1]}</span>`;
}

export function userCodeForm(wrong?: string): Html {
  return html`${alert(wrong)}
<form method="get" action="/device">
<label for="user_code">Code that the device shows</label>
<input id="user_code" name="user_code" autocomplete="off" autocapitalize="characters" spellcheck="false" placeholder="XXXX-XXXX" required autofocus>
<div class="buttons wide"><button>Go on</button></div>
</form>`;
}

/** The confirmation that keeps a link with a code in it from being a trap (brief alise-aai 3.9). */
export function deviceForm(csrf: string, device: PendingDevice, username: string): Html {
  return html`<p>Go on only if a device in front of you shows this code:</p>
<p class="code">${device.userCode}</p>
${approvalForm(
  '/device',
  { csrf, user_code: device.userCode },
  {
    clientName: device.client.name,
    clientId: device.client.id,
    scopes: device.scopes,
    audiences: device.audiences,
    username,
    selfRegistered: device.client.selfRegistered,
  },
)}`;
}

export function signOutForm(csrf: string, username: string, fields: Readonly<Record<string, string>>): Html {
  return html`<p>You are signed in as <strong>${username}</strong>.</p>
<form method="post" action="/endsession">
${hidden('csrf', csrf)}${Object.entries(fields).map(([name, value]) => hidden(name, value))}
<div class="buttons"><button name="decision" value="sign-out">Sign out</button></div>
</form>`;
}

/** One sentence. */
export function message(text: string): Html {
  return html`<p>${text}</p>`;
}
