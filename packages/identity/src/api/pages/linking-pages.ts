import type { ProviderConfig, SiteConfig } from '../../config.ts';
import type { Link } from '../../core/find-links.ts';
import { type Html, html } from './html.ts';

const hidden = (name: string, value: string) => html`<input type="hidden" name="${name}" value="${value}">`;
const titleOf = (provider: ProviderConfig) => provider.title ?? provider.name;

export function siteList(sites: readonly SiteConfig[]): Html {
  return html`<p>At which site is your account?</p>
<ul>${sites.map(({ name }) => html`<li><a href="/${name}">${name}</a></li>`)}</ul>`;
}

/** A button for each provider of the site itself. */
export function siteSignIn(site: SiteConfig, csrf: string, again: boolean): Html {
  const providers = site.internal.filter(({ client_id }) => client_id !== undefined);
  if (providers.length === 0)
    return html`<p>Nobody can sign in here yet: the site has not named its own provider.</p>`;
  return html`<p>${again ? 'Links can be changed only shortly after signing in.' : 'Link your account here with the identities that you use elsewhere, so that services of the site know you by them.'}</p>
<form method="post" action="/${site.name}/sign-in">
${hidden('csrf', csrf)}${again ? hidden('again', 'yes') : undefined}
${providers.map((provider) => html`<button name="provider" value="${provider.name}">Sign in at ${titleOf(provider)}</button>`)}
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
  return html`${notice === undefined ? undefined : html`<p class="notice" role="status">${notice}</p>`}
<p>You are <strong>${person.displayName ?? person.username}</strong>, account <code>${person.username}</code> at ${site.name}.</p>
<h2>Linked identities</h2>
${external.length === 0 ? html`<p>None yet.</p>` : html`<ul class="links">${external.map((link) => linkItem(site, csrf, link))}</ul>`}
<h2>Link another one</h2>
${
  providers.length === 0
    ? html`<p>This site names no provider to link with.</p>`
    : html`<form method="post" action="/${site.name}/link">${hidden('csrf', csrf)}
${providers.map((provider) => html`<button name="provider" value="${provider.name}">Link ${titleOf(provider)}</button>`)}
</form>`
}
<form method="post" action="/${site.name}/sign-out">${hidden('csrf', csrf)}<button class="quiet">Sign out</button></form>`;
}

function linkItem(site: SiteConfig, csrf: string, link: Link): Html {
  const provider = site.external.find(({ issuer }) => issuer === link.issuer);
  const name = provider === undefined ? link.issuer : titleOf(provider);
  const until = link.expiresAt === null ? '' : `, until ${link.expiresAt.toISOString().slice(0, 10)}`;
  const state = link.state === 'active' ? '' : ` (${link.state})`;
  return html`<li><strong>${link.displayName ?? link.subject}</strong>${state}<br>
${name}: <code>${link.subject}</code><br>
since <time datetime="${link.linkedAt.toISOString()}">${link.linkedAt.toISOString().slice(0, 10)}</time>${until}
${link.state === 'suspended' ? undefined : unlinkForm()}</li>`;

  function unlinkForm(): Html {
    return html`<form method="post" action="/${site.name}/unlink">${hidden('csrf', csrf)}${hidden('link', link.id)}
<button aria-label="Unlink ${link.displayName ?? link.subject} of ${name}">Unlink</button></form>`;
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
  return html`<p>Whoever signs in as this identity will be <code>${link.username}</code> at ${site.name}:</p>
<dl><dt>Name</dt><dd><strong>${link.displayName ?? link.subject}</strong></dd>
<dt>Provider</dt><dd>${link.providerTitle} (<code>${link.issuer}</code>)</dd>
<dt>Identifier</dt><dd><code>${link.subject}</code></dd>
<dt>Account</dt><dd><code>${link.username}</code> at ${site.name}</dd></dl>
<form method="post" action="/${site.name}/confirm">
${hidden('csrf', csrf)}${hidden('ticket', ticket)}
<button name="decision" value="link">Link</button><button name="decision" value="cancel" class="quiet">Cancel</button>
</form>`;
}
