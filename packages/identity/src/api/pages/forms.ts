import type { PendingDevice } from '../../core/device-codes.ts';
import { type Html, html } from './html.ts';

const hidden = (name: string, value: string) => html`<input type="hidden" name="${name}" value="${value}">`;

/** Name and password; afterwards the browser goes on to `returnTo`. */
export function signInForm(csrf: string, returnTo: string, wrong?: string): Html {
  return html`${wrong === undefined ? undefined : html`<p class="wrong" role="alert">${wrong}</p>`}
<form method="post" action="/login">
${hidden('csrf', csrf)}${hidden('return', returnTo)}
<label for="username">User name</label>
<input id="username" name="username" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button>
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
  return html`<p><strong>${request.clientName}</strong> (<code>${request.clientId}</code>) asks to act for you, <strong>${request.username}</strong>.</p>
${request.selfRegistered ? html`<p>This client has registered itself: anybody can choose that name. Allow it only if you have just started it.</p>` : undefined}
<p>It would get:</p>
<ul>${request.scopes.map((scope) => html`<li><code>${scope}</code></li>`)}</ul>
${
  request.audiences.length === 0
    ? html`<p>at any service that it names later.</p>`
    : html`<p>at:</p><ul>${request.audiences.map((audience) => html`<li><code>${audience}</code></li>`)}</ul>`
}
<form method="post" action="${action}">
${Object.entries(fields).map(([name, value]) => hidden(name, value))}
<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button>
</form>`;
}

export function userCodeForm(wrong?: string): Html {
  return html`${wrong === undefined ? undefined : html`<p class="wrong" role="alert">${wrong}</p>`}
<form method="get" action="/device">
<label for="user_code">Code that the device shows</label>
<input id="user_code" name="user_code" autocomplete="off" autocapitalize="characters" placeholder="XXXX-XXXX" required autofocus>
<button>Go on</button>
</form>`;
}

/** The confirmation that keeps a link with a code in it from being a trap (brief alise-aai 3.9). */
export function deviceForm(csrf: string, device: PendingDevice, username: string): Html {
  return html`<p>The code is <strong>${device.userCode}</strong>. Go on only if a device in front of you shows it.</p>
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

/** One sentence. */
export function message(text: string): Html {
  return html`<p>${text}</p>`;
}
