import type { Database, WakeUps } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { ErrorPrinter } from '@weft/kernel/http';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AliseConfig, ProviderConfig, SiteConfig } from '../config.ts';
import type { AttemptLimit, Attempts } from '../core/attempts.ts';
import { requireNoWait } from '../core/caller-limits.ts';
import { findLinksOfAccount } from '../core/find-links.ts';
import { newSecret } from '../core/hashes.ts';
import { auditRefusal } from '../core/linking/audit-refusal.ts';
import { accountOf, changeLink, linkIdentity } from '../core/linking/link-identity.ts';
import {
  beginLinkingSession,
  endLinkingSession,
  endLinkingSessionsOf,
  findLinkingSession,
  type LinkingSession,
} from '../core/linking/linking-sessions.ts';
import { exportAccounts } from '../core/linking/own-data.ts';
import type { PersonSeen, ProviderKind, SiteProviders } from '../core/linking/site-providers.ts';
import {
  awaitConfirmation,
  beginTransaction,
  findConfirmation,
  takeTransaction,
} from '../core/linking/transactions.ts';
import { networkOf } from '../core/network-of.ts';
import type { IdentityTables } from '../db/schema.ts';
import { formTokenOf, readCookies, requireFormToken, setCookie } from './cookies.ts';
import { formOf, originOf } from './oauth-dialect.ts';
import {
  failure,
  linkConfirmation,
  linkOverview,
  onTheWay,
  signedOut,
  siteList,
  siteSignIn,
  titleOf,
} from './pages/linking-pages.ts';
import { sendPage } from './pages/page.ts';

/** Stands above the pages. */
const PLACE = 'Account linking';
const SESSION = '__Host-weft-linking-session';
const BROWSER = '__Host-weft-linking-browser';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

type AtSite = FastifyRequest<{ Params: { site: string } }>;

export interface LinkingOptions {
  database: Database;
  wakeUps: WakeUps;
  providers: SiteProviders;
  config: AliseConfig;
  attempts: Attempts;
}

/** Of a network; then nothing for five minutes. */
const STRANGE_FORMS: AttemptLimit = { name: 'linking-form', allowed: 100, windowSeconds: 5 * 60 };

/**
 * The pages on which people link their accounts (brief alise-aai 3.6): sign in at the site, sign in elsewhere, confirm.
 * Every change is a POST with a form token; linking and unlinking need a sign-in younger than 15 minutes.
 */
export function registerLinking(
  app: FastifyInstance,
  { database, wakeUps, providers, config, attempts }: LinkingOptions,
): void {
  const sql = database.withTables<IdentityTables>();

  const siteOf = (request: AtSite): SiteConfig => {
    const site = providers.site(request.params.site);
    if (site === undefined) throw new WeftError('not-found', 'not-found', 'There is no such page.');
    return site;
  };

  async function visit(request: FastifyRequest, reply: FastifyReply, site: SiteConfig) {
    const cookies = readCookies(request.headers.cookie);
    const known = cookies.get(BROWSER);
    const browser = known ?? newSecret();
    if (known === undefined) setCookie(reply, BROWSER, browser);
    const session = await findLinkingSession(sql, cookies.get(SESSION));
    return {
      browser,
      csrf: formTokenOf(browser),
      session: session?.site === site.name ? session : undefined,
    };
  }

  /** A form of ours, from somebody who may have signed in at the site. */
  async function submitted(request: FastifyRequest, reply: FastifyReply, site: SiteConfig) {
    const form = formOf(request);
    const network = networkOf(request.ip);
    requireNoWait(attempts.waitSeconds(STRANGE_FORMS, network));
    try {
      requireFormToken(readCookies(request.headers.cookie).get(BROWSER), form);
    } catch (error) {
      await attempts.count([STRANGE_FORMS, network]);
      throw error;
    }
    return { form, ...(await visit(request, reply, site)) };
  }

  /** The same for a change, which the audit log of the site tells when it is refused. */
  const submittedFor = (action: string, request: FastifyRequest, reply: FastifyReply, site: SiteConfig) =>
    auditRefusal(sql, { site: site.name, action, object: '-', origin: originOf(request) }, () =>
      submitted(request, reply, site),
    );

  async function leave(
    reply: FastifyReply,
    begun: {
      browser: string;
      session: LinkingSession | undefined;
      site: SiteConfig;
      kind: ProviderKind;
      fresh: boolean;
    },
    name: string,
  ) {
    const provider = providers.find(begun.site.name, begun.kind, name);
    if (provider === undefined) throw new WeftError('not-found', 'not-found', 'There is no such provider.');
    const transit = await beginTransaction(sql, {
      browser: begun.browser,
      sessionHash: begun.session?.idHash,
      site: begun.site.name,
      kind: begun.kind,
      provider: name,
      fresh: begun.fresh,
      seconds: config.sign_in_seconds,
    });
    const address = await providers.addressOf(provider, transit, begun.fresh);
    // Not a redirect: browsers hold a form's whole way against its policy, and nobody knows a provider's own redirects.
    return sendPage(reply, {
      ...{ title: `On to ${titleOf(provider)}`, place: PLACE },
      body: onTheWay(titleOf(provider), address.href),
      goesTo: address.href,
    });
  }

  const signInAgain = (reply: FastifyReply, site: SiteConfig, csrf: string) =>
    sendPage(reply, { title: 'Sign in again', place: PLACE, body: siteSignIn(site, csrf, { again: true }) });

  app.get('/', async (_request, reply) => {
    const [only] = config.sites;
    if (config.sites.length === 1 && only !== undefined) return reply.redirect(`/${only.name}`, 303);
    return sendPage(reply, { title: 'Link your accounts', place: PLACE, body: siteList(config.sites) });
  });

  app.get('/:site', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { session, csrf } = await visit(request, reply, site);
    const done = new URLSearchParams(request.rawTarget.split('?')[1]).get('done');
    const notice = NOTICES.get(done ?? '');
    if (session === undefined) {
      const body = siteSignIn(site, csrf, { again: false, notice });
      return sendPage(reply, { title: `Accounts at ${site.name}`, place: PLACE, body });
    }
    const links = await findLinksOfAccount(sql, site.name, session.username);
    const body = linkOverview(site, csrf, session, links, notice);
    return sendPage(reply, { title: `Your account at ${site.name}`, place: PLACE, body });
  });

  app.post('/:site/sign-in', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { form, browser } = await submitted(request, reply, site);
    const fresh = form.has('again');
    return leave(
      reply,
      { browser, session: undefined, site, kind: 'internal', fresh },
      form.get('provider') ?? '',
    );
  });

  app.post('/:site/link', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { form, browser, csrf, session } = await submittedFor('link.create', request, reply, site);
    if (session?.fresh !== true) return signInAgain(reply, site, csrf);
    return leave(
      reply,
      { browser, session, site, kind: 'external', fresh: false },
      form.get('provider') ?? '',
    );
  });

  app.get('/callback', async (request, reply) => {
    const target = new URL(request.rawTarget, config.url);
    const cookies = readCookies(request.headers.cookie);
    const transaction = await takeTransaction(
      sql,
      target.searchParams.get('state') ?? '',
      cookies.get(BROWSER) ?? '',
    );
    const { kind, site, fresh } = transaction;
    const provider = providers.find(site, kind, transaction.provider);
    if (provider === undefined) throw new WeftError('not-found', 'not-found', 'There is no such provider.');
    const transit = {
      state: target.searchParams.get('state') ?? '',
      nonce: transaction.nonce,
      verifier: transaction.verifier,
    };
    const session = kind === 'external' ? await findLinkingSession(sql, cookies.get(SESSION)) : undefined;
    const tried = {
      site,
      actor: session?.username,
      action: kind === 'external' ? 'link.create' : 'sign-in',
      object: `somebody at ${provider.issuer}`,
      origin: originOf(request),
    };
    const cameBack = await auditRefusal(sql, tried, async () => {
      const person = await providers.redeem(provider, target, transit, fresh);
      if (kind === 'internal') return { cookie: await signInAtSite(site, provider, person) };
      if (session === undefined || transaction.session_hash?.equals(session.idHash) !== true)
        throw new WeftError('forbidden', 'stale-sign-in', 'Your session at the site has ended. Begin again.');
      return { ticket: await awaitConfirmation(sql, transaction, person) };
    });
    if ('ticket' in cameBack)
      return reply
        .header('cache-control', 'no-store')
        .redirect(`/${site}/confirm?ticket=${cameBack.ticket}`, 303);
    setCookie(reply, SESSION, cameBack.cookie);
    setCookie(reply, BROWSER, newSecret());
    return reply.header('cache-control', 'no-store').redirect(`/${site}`, 303);

    /** Under a new identifier; an older session ends. */
    function signInAtSite(at: string, by: ProviderConfig, person: PersonSeen): Promise<string> {
      return database.transaction<string, IdentityTables>(async (tx) => {
        const { subject, displayName, claims } = person;
        const seen = { issuer: by.issuer, subject, displayName, claims };
        const account = await accountOf(tx, wakeUps, at, seen, person.username, originOf(request));
        await endLinkingSession(tx, cookies.get(SESSION));
        return beginLinkingSession(tx, {
          site: at,
          ...account,
          displayName: person.displayName,
          authTime: person.authTime,
        });
      });
    }
  });

  app.get('/:site/data', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { session } = await visit(request, reply, site);
    if (session === undefined) return reply.redirect(`/${site.name}`, 303);
    const data = await exportAccounts(sql, [session.accountId]);
    return reply
      .headers({
        'cache-control': 'private, no-store',
        'content-disposition': `attachment; filename="${site.name}.json"`,
      })
      .send({ exported_at: new Date(), ...data });
  });

  app.get('/:site/confirm', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { session, csrf } = await visit(request, reply, site);
    const ticket = new URLSearchParams(request.rawTarget.split('?')[1]).get('ticket') ?? '';
    const waiting = session && (await findConfirmation(sql, ticket, session.idHash, false));
    const provider = waiting && providers.find(site.name, 'external', waiting.provider);
    if (session === undefined || waiting === undefined || provider === undefined)
      return reply.redirect(`/${site.name}?done=late`, 303);
    const body = linkConfirmation(site, csrf, ticket, {
      username: session.username,
      providerTitle: provider.title ?? provider.name,
      issuer: provider.issuer,
      subject: waiting.subject,
      displayName: waiting.display_name,
    });
    return sendPage(reply, { title: 'Link this identity?', place: PLACE, body });
  });

  app.post('/:site/confirm', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { form, csrf, session } = await submittedFor('link.create', request, reply, site);
    if (session?.fresh !== true) return signInAgain(reply, site, csrf);
    const origin = originOf(request);
    let identity = '-';
    const confirm = () =>
      database.transaction<string, IdentityTables>(async (tx) => {
        const waiting = await findConfirmation(tx, form.get('ticket') ?? '', session.idHash, true);
        const provider = waiting && providers.find(site.name, 'external', waiting.provider);
        if (waiting === undefined || provider === undefined) return 'late';
        if (form.get('decision') !== 'link') return 'nothing';
        const seen = {
          issuer: provider.issuer,
          subject: waiting.subject,
          displayName: waiting.display_name ?? undefined,
          claims: waiting.claims,
        };
        identity = `${seen.subject} at ${seen.issuer}`;
        const rules = { linkDays: provider.link_days, maximum: site.links_per_account };
        await linkIdentity(tx, wakeUps, session, seen, rules, origin);
        return 'linked';
      });
    const done = await auditRefusal(
      sql,
      {
        ...{ site: site.name, actor: session.username, action: 'link.create' },
        ...{ object: () => identity, origin },
      },
      confirm,
    );
    return reply.redirect(`/${site.name}?done=${done}`, 303);
  });

  app.post('/:site/unlink', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { form, csrf, session } = await submittedFor('link.unlink', request, reply, site);
    if (session?.fresh !== true) return signInAgain(reply, site, csrf);
    const linkId = form.get('link') ?? '';
    const choice = { site: site.name, accountId: session.accountId, linkId };
    const changed = UUID.test(linkId)
      ? await database.transaction((tx: Parameters<typeof changeLink>[0]) =>
          changeLink(tx, wakeUps, session.username, choice, 'unlink', originOf(request)),
        )
      : [];
    return reply.redirect(`/${site.name}?done=${changed.length > 0 ? 'unlinked' : 'nothing'}`, 303);
  });

  app.post('/:site/sign-out', async (request: AtSite, reply) => {
    const site = siteOf(request);
    const { form, session } = await submitted(request, reply, site);
    await endLinkingSession(sql, readCookies(request.headers.cookie).get(SESSION));
    if (session !== undefined && form.has('everywhere')) await endLinkingSessionsOf(sql, session.accountId);
    setCookie(reply, SESSION, '', 0);
    const addresses = await Promise.all(
      [...site.internal, ...site.external].map(async (provider) => ({
        title: titleOf(provider),
        address: provider.client_id === undefined ? undefined : await providers.signOutAddress(provider),
      })),
    );
    const offered = addresses.flatMap(({ title, address }) =>
      address === undefined ? [] : [{ title, address }],
    );
    return sendPage(reply, { title: 'Signed out', place: PLACE, body: signedOut(site.name, offered) });
  });
}

const NOTICES = new Map([
  ['linked', 'Linked. Services of the site learn of it at once.'],
  ['unlinked', 'Unlinked. Services of the site learn of it at once.'],
  ['nothing', 'Nothing was changed.'],
  ['late', 'That took too long, or it was answered already. Nothing was changed. Begin again.'],
]);

/** What went wrong, for a person, and the way back to her site. */
export const printLinkingError: ErrorPrinter = (error, request, reply) => {
  const { status, message: text } = toHttpFailure(error);
  const site = /^\/([A-Za-z0-9_-]+)\//.exec(request.url)?.[1];
  const back = site === undefined ? '/' : `/${site}`;
  const title = status === 404 ? 'Not found' : 'That did not work';
  sendPage(reply, { title, place: PLACE, status, body: failure(text, back) });
};
