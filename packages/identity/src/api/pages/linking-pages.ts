import type { ProviderConfig, SiteConfig } from '../../config.ts';
import type { Link } from '../../core/find-links.ts';
import { hidden } from './forms.ts';
import { type Html, html } from './html.ts';

export const titleOf = (provider: Pick<ProviderConfig, 'title' | 'name'>) => provider.title ?? provider.name;

export function siteList(sites: readonly SiteConfig[]): Html {
  return sites.length === 0
    ? html`<p>No site has joined yet.</p>`
    : html`<p>At which site is your account?</p>
<ul class="cards go">${sites.map(({ name }) => html`<li><a href="/${name}">${name}</a></li>`)}</ul>`;
}

/** A button for each provider of the site itself. */
export function siteSignIn(
  site: SiteConfig,
  csrf: string,
  options: { again: boolean; notice?: string | undefined },
): Html {
  const providers = site.internal.filter(({ client_id }) => client_id !== undefined);
  if (providers.length === 0)
    return html`<p>Nobody can sign in here yet: the site has not named its own provider.</p>`;
  return html`${noticeOf(options.notice)}
<p>${options.again ? 'Links can be changed only shortly after signing in.' : 'Link your account here with the identities that you use elsewhere, so that services of the site know you by them.'}</p>
<form method="post" action="/${site.name}/sign-in">
${hidden('csrf', csrf)}${options.again ? hidden('again', 'yes') : undefined}
<div class="buttons wide">${providers.map((provider) => html`<button name="provider" value="${provider.name}">Sign in at ${titleOf(provider)}</button>`)}</div>
</form>`;
}

/** The account, its links, and what can be added. */
export function linkOverview(
  site: SiteConfig,
  csrf: string,
  person: { username: string; displayName: string | null },
  links: readonly Link[],
  notice: string | undefined,
): Html {
  const external = links.filter(({ kind, state }) => kind === 'external' && state !== 'unlinked');
  const providers = site.external.filter(({ client_id }) => client_id !== undefined);
  return html`${noticeOf(notice)}
<p>You are <strong>${person.displayName ?? person.username}</strong>, account <code>${person.username}</code> at ${site.name}.</p>
<h2>Linked identities</h2>
${external.length === 0 ? html`<p>None yet.</p>` : html`<ul class="cards">${external.map((link) => linkItem(site, csrf, link))}</ul>`}
<h2>Link another one</h2>
${
  providers.length === 0
    ? html`<p>This site names no provider to link with.</p>`
    : html`<form method="post" action="/${site.name}/link">${hidden('csrf', csrf)}
<div class="buttons wide">${providers.map((provider) => html`<button name="provider" value="${provider.name}">Link ${titleOf(provider)}</button>`)}</div>
</form>`
}
<p class="apart"><a href="/${site.name}/data">Download what is kept about you</a></p>
<form method="post" action="/${site.name}/sign-out">${hidden('csrf', csrf)}
<div class="buttons"><button class="quiet">Sign out</button><button class="quiet" name="everywhere" value="yes">Sign out everywhere</button></div></form>`;
}

function noticeOf(text: string | undefined): Html | undefined {
  return text === undefined ? undefined : html`<p class="notice" role="status">${text}</p>`;
}

function linkItem(site: SiteConfig, csrf: string, link: Link): Html {
  const provider = site.external.find(({ issuer }) => issuer === link.issuer);
  const name = provider === undefined ? link.issuer : titleOf(provider);
  const state = link.state === 'active' ? undefined : html` <strong>(${link.state})</strong>`;
  const until =
    link.expiresAt === null
      ? undefined
      : html`, until <time>${link.expiresAt.toISOString().slice(0, 10)}</time>`;
  return html`<li class="card"><div><strong>${link.displayName ?? link.subject}</strong>${state}<br>
${name}<br><code>${link.subject}</code><br>
<span class="soft">since <time>${link.linkedAt.toISOString().slice(0, 10)}</time>${until}</span></div>
${link.state === 'suspended' ? undefined : unlinkForm()}</li>`;

  function unlinkForm(): Html {
    return html`<form method="post" action="/${site.name}/unlink">${hidden('csrf', csrf)}${hidden('link', link.id)}
<button class="quiet" aria-label="Unlink ${link.displayName ?? link.subject} of ${name}">Unlink</button></form>`;
  }
}

/** Both names, so that nobody is walked through somebody else's sign-in (brief alise-aai 3.6 step 4). */
export function linkConfirmation(
  site: SiteConfig,
  csrf: string,
  ticket: string,
  link: {
    username: string;
    providerTitle: string;
    issuer: string;
    subject: string;
    displayName: string | null;
  },
): Html {
  return html`<p>Whoever signs in as this identity will be <code>${link.username}</code> at ${site.name}.</p>
<dl><dt>Name</dt><dd><strong>${link.displayName ?? link.subject}</strong></dd>
<dt>Provider</dt><dd>${link.providerTitle}<br><code>${link.issuer}</code></dd>
<dt>Identifier</dt><dd><code>${link.subject}</code></dd>
<dt>Account</dt><dd><code>${link.username}</code> at ${site.name}</dd></dl>
<form method="post" action="/${site.name}/confirm">
${hidden('csrf', csrf)}${hidden('ticket', ticket)}
<div class="buttons"><button name="decision" value="link">Link</button><button name="decision" value="cancel" class="quiet">Cancel</button></div>
</form>`;
}

/** On the way to a provider; the link is for browsers that do not go by themselves. */
export function onTheWay(title: string, address: string): Html {
  return html`<p>If nothing happens: <a href="${address}">go on to ${title}</a>.</p>`;
}

/** Shared computers: the providers may still know the person (brief alise-aai 3.15). */
export function signedOut(site: string, providers: readonly { title: string; address: string }[]): Html {
  return html`<p>You are signed out here.</p>
${
  providers.length === 0
    ? html`<p>Your providers may still know you: sign out there too if others use this computer.</p>`
    : html`<p>These providers may still know you. If others use this computer, sign out there too:</p>
<ul class="cards go">${providers.map(({ title, address }) => html`<li><a href="${address}">Sign out at ${title}</a></li>`)}</ul>`
}
<p class="apart"><a href="/${site}">Back to ${site}</a></p>`;
}

/** What went wrong, and the way back. */
export function failure(text: string, back: string): Html {
  return html`<p class="wrong" role="alert">${text}</p>
<p class="apart"><a href="${back}">Back</a></p>`;
}
