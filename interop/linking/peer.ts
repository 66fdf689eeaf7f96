import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { pagesAreAccessible } from './accessible.ts';
import { type Chromium, startChromium, textOf } from './chromium.ts';
import { linkInEmbeddedDefault } from './embedded-default.ts';
import {
  type Addresses,
  type Running,
  SIGN_IN_SECONDS,
  startLinkingService,
  startProviders,
} from './linking-service.ts';
import { storageKnowsLinks } from './site-storage.ts';

/** A subject with everything that has broken somebody's URLs. */
const ODD_SUBJECT = 'ab12+c/d e%25:f@community.example';
/** The cookie that binds a sign-in to the browser that began it. */
const BINDING = '__Host-weft-linking-browser';

/**
 * People in Chromium link and unlink accounts; oidc-provider, the certified library, is the site's provider and the
 * community's. The look-ups are Teapot's.
 */
const peer: Peer = {
  name: 'linking',
  components: ['identity'],
  install: (tools) => tools.needCommand('chromium', ['chromium']),

  async quick(suite) {
    await withService(suite, async (site) => {
      await suite.check('signs in, confirms, links, is found as Teapot asks, unlinks, is found no more', () =>
        linkAndUnlink(site),
      );
      await suite.check('an identity has one owner: the second one is told why', () => secondOwner(site));
      await suite.check('a callback is good once, and only in the browser that began it', () =>
        stolenCallback(site),
      );
      await suite.check('a session that somebody planted is nobody’s', () => plantedCookies(site));
      await suite.check('pages of others cannot link, unlink or confirm', () => foreignForms(site));
      await suite.check('the key of one site opens no other', () => otherSite(site));
      await linkInEmbeddedDefault(suite, site.chromium);
      await suite.check('every page is accessible by axe, light and dark, and by keyboard', () =>
        pagesAreAccessible(suite, site.chromium),
      );
    });
  },

  async full(suite) {
    await withService(suite, async (site) => {
      await suite.check('a confirmation that came too late links nothing', () => lateConfirmation(site));
      await storageKnowsLinks(suite, site.chromium);
    });
  },
};

export default peer;

/** What the checks work on. */
interface Site {
  readonly suite: Suite;
  readonly chromium: Chromium;
  readonly addresses: Addresses;
  readonly secret: string;
}

async function withService(suite: Suite, work: (site: Site) => Promise<void>): Promise<void> {
  const base = Number(new URL(suite.instance.endpoints.issuer).port) + 300;
  const at = (offset: number) => `https://localhost:${base + offset}`;
  const addresses = { linking: at(0), issuer: at(1), siteProvider: at(2), community: at(3) };
  const secret = randomBytes(24).toString('hex');
  const running: Running[] = [];
  try {
    const started = await Promise.allSettled([
      startProviders(suite, addresses, secret),
      startLinkingService(suite, addresses, secret),
      startChromium(path.join(suite.instance.data, 'pki', 'server.pem')),
    ]);
    for (const each of started) if (each.status === 'fulfilled') running.push(each.value);
    for (const each of started) if (each.status === 'rejected') throw each.reason;
    const [, , chromium] = started;
    if (chromium.status === 'fulfilled') await work({ suite, chromium: chromium.value, addresses, secret });
  } finally {
    await Promise.all(running.map((each) => each.stop()));
  }
}

/** oidc-provider's own pages: who signs in there is whoever she says; then she allows what is asked. */
async function passProvider(page: Page, provider: string, name: string): Promise<void> {
  await page.waitForURL(`${provider}/**`);
  if (await page.locator('input[name=login]').isVisible()) {
    await page.locator('input[name=login]').fill(name);
    await page.locator('input[name=password]').fill('anything');
    await page.locator('button[type=submit]').click();
  }
  if (await page.getByRole('button', { name: 'Continue' }).isVisible()) {
    await page.getByRole('button', { name: 'Continue' }).click();
  }
}

async function signInAtSite({ addresses }: Site, page: Page, name: string): Promise<void> {
  await page.goto(`${addresses.linking}/hpc`);
  await page.getByRole('button', { name: 'The computing centre' }).click();
  await passProvider(page, addresses.siteProvider, name);
  await page.waitForURL(`${addresses.linking}/hpc`);
}

/** Ends on the confirmation page. */
async function goToCommunity({ addresses }: Site, page: Page, subject: string): Promise<void> {
  await page.getByRole('button', { name: 'The community' }).click();
  await passProvider(page, addresses.community, subject);
}

const mappingSchema = z.object({
  status: z.number(),
  body: z.object({
    internal: z.object({ iss: z.string(), username: z.string() }).optional(),
    external: z.array(z.object({ sub: z.string(), iss: z.string() })).default([]),
    detail: z.array(z.object({ type: z.string() })).default([]),
  }),
});

async function askAsTeapot({ suite, addresses, secret }: Site, subject: string, site = 'hpc', key = 'hpc') {
  const script = path.join(import.meta.dirname, 'ask-as-teapot.py');
  const { stdout } = await suite.tools.succeed('python3', [
    script,
    ...[addresses.linking, site, `${secret}-${key}`, suite.instance.endpoints.ca],
    ...[addresses.community, subject],
  ]);
  return mappingSchema.parse(JSON.parse(stdout));
}

async function linkAndUnlink(site: Site): Promise<void> {
  const { addresses } = site;
  const alice = await site.chromium.someone();
  const refusals = watchPolicy(alice);
  const page = await alice.newPage();
  await signInAtSite(site, page, 'alice');
  expectMatch(await textOf(page), /account alice at hpc/, 'who she is');
  await goToCommunity(site, page, ODD_SUBJECT);
  const question = await textOf(page);
  for (const part of ['alice', 'hpc', ODD_SUBJECT, addresses.community, 'of provider 2'])
    expectEqual([part, question.includes(part)], [part, true], 'the confirmation names both sides');
  expectEqual((await askAsTeapot(site, ODD_SUBJECT)).status, 401, 'not linked before the confirmation');
  await page.getByRole('button', { name: 'Link', exact: true }).click();
  expectMatch(await textOf(page), /Linked\.[\s\S]*of provider 2/, 'list');

  const found = await askAsTeapot(site, ODD_SUBJECT);
  expectEqual(found.body.internal, { iss: addresses.siteProvider, username: 'alice' }, 'internal');
  expectEqual(found.body.external, [{ sub: ODD_SUBJECT, iss: addresses.community }], 'external');
  const before = (await changes(site, '0')).next;

  await page.getByRole('button', { name: /^Unlink/ }).click();
  expectMatch(await textOf(page), /Unlinked\.[\s\S]*None yet/, 'list');
  // The very next look-up, well within the second that services are promised.
  const lost = await askAsTeapot(site, ODD_SUBJECT);
  expectEqual([lost.status, lost.body.detail[0]?.type], [401, 'not-mapped'], 'after unlinking');
  const fed = await changes(site, before);
  expectEqual(
    fed.changes.map(({ state, sub }) => [state, sub]),
    [['unlinked', ODD_SUBJECT]],
    'change feed',
  );
  expectEqual(refusals, [], 'what the content security policy refused');
  await alice.close();
}

async function secondOwner(site: Site): Promise<void> {
  const [alice, bob] = [await site.chromium.someone(), await site.chromium.someone()];
  for (const [person, name] of [
    [alice, 'alice'],
    [bob, 'bob'],
  ] as const) {
    const page = await person.newPage();
    await signInAtSite(site, page, name);
    await goToCommunity(site, page, 'shared');
    await page.getByRole('button', { name: 'Link', exact: true }).click();
    const said = await textOf(page);
    if (name === 'alice') expectMatch(said, /Linked\./, 'the first owner');
    else expectMatch(said, /linked to another account of the site/, 'the second owner');
    await person.close();
  }
  expectEqual((await askAsTeapot(site, 'shared')).body.internal?.username, 'alice', 'owner');
}

/** Someone makes another person, or her own browser a second time, open the end of a sign-in. */
async function stolenCallback(site: Site): Promise<void> {
  const [eve, alice] = [await site.chromium.someone(), await site.chromium.someone()];
  const page = await eve.newPage();
  await signInAtSite(site, page, 'eve');
  await page.getByRole('button', { name: 'The community' }).click();
  const binding = (await eve.cookies(site.addresses.linking)).filter(({ name }) => name === BINDING);
  // Without it her browser is another one, and the code stays unused.
  await eve.clearCookies({ name: BINDING });
  await passProvider(page, site.addresses.community, 'identity-of-eve');
  const callback = page.url();
  expectMatch(callback, /\/callback\?code=/, 'the address that carries the code');
  expectMatch(await textOf(page), /not begun in this browser/, 'without the cookie of the beginning');

  const hers = await alice.newPage();
  await signInAtSite(site, hers, 'alice');
  expectEqual((await hers.goto(callback))?.status(), 403, 'in the browser of somebody else');

  await eve.addCookies(binding);
  await page.goto(callback);
  expectMatch(page.url(), /\/hpc\/confirm\?ticket=/, 'in her own browser');
  expectEqual((await page.goto(callback))?.status(), 403, 'a second time');
  expectEqual((await askAsTeapot(site, 'identity-of-eve')).status, 401, 'nothing is linked');
  await Promise.all([eve.close(), alice.close()]);
}

async function plantedCookies(site: Site): Promise<void> {
  const alice = await site.chromium.someone();
  const planted = randomBytes(32).toString('base64url');
  const { hostname: domain } = new URL(site.addresses.linking);
  await alice.addCookies(
    ['__Host-weft-linking-session', BINDING].map((name) => ({
      ...{ name, value: planted, url: `https://${domain}/`, secure: true },
    })),
  );
  const page = await alice.newPage();
  await page.goto(`${site.addresses.linking}/hpc`);
  expectMatch(await textOf(page), /Sign in at/, 'not signed in');
  await signInAtSite(site, page, 'alice');
  const cookies = await alice.cookies(site.addresses.linking);
  const session = cookies.find(({ name }) => name === '__Host-weft-linking-session');
  expectEqual(session?.value === planted, false, 'the planted identifier survives the sign-in');
  expectEqual(
    [session?.secure, session?.httpOnly, session?.sameSite, session?.path],
    [true, true, 'Lax', '/'],
    'attributes of the session cookie',
  );
  await alice.close();
}

/** Forms on a page of another site, and on one of the same host, whose posts carry her cookies. */
async function foreignForms(site: Site): Promise<void> {
  const { linking, community } = site.addresses;
  const alice = await site.chromium.someone();
  const page = await alice.newPage();
  await signInAtSite(site, page, 'alice');
  for (const action of ['link', 'unlink', 'confirm', 'sign-out']) {
    const form = `<form method="post" action="${linking}/hpc/${action}"><input name="provider" value="community"><input name="decision" value="link"><button>Win</button></form>`;
    const neighbour = `${community}/neighbour`;
    await page.route(neighbour, (route) => route.fulfill({ contentType: 'text/html', body: form }));
    const elsewhere = `data:text/html,${encodeURIComponent(form)}`;
    for (const origin of action === 'unlink' ? [neighbour, elsewhere] : [neighbour]) {
      await page.goto(origin);
      const [answer] = await Promise.all([
        page.waitForResponse((response) => response.url() === `${linking}/hpc/${action}`),
        page.getByRole('button', { name: 'Win' }).click(),
      ]);
      expectEqual([action, answer.status()], [action, 403], origin.slice(0, 20));
    }
  }
  await page.goto(`${linking}/hpc`);
  expectMatch(await textOf(page), /account alice at hpc/, 'still signed in');
  for (const action of ['link', 'unlink', 'confirm', 'sign-in', 'sign-out']) {
    const status = (await page.goto(`${linking}/hpc/${action}`))?.status() ?? 0;
    const unchanged = status === 404 || page.url() === `${linking}/hpc?done=late`;
    expectEqual([action, unchanged], [action, true], 'by GET');
  }
  await alice.close();
}

async function otherSite(site: Site): Promise<void> {
  const foreign = await askAsTeapot(site, 'shared', 'cloud', 'hpc');
  expectEqual([foreign.status, foreign.body.detail[0]?.type], [401, 'invalid'], 'a key of hpc at cloud');
  const own = await askAsTeapot(site, 'shared', 'cloud', 'cloud');
  expectEqual([own.status, own.body.detail[0]?.type], [401, 'not-mapped'], 'a link of hpc at cloud');
}

async function lateConfirmation(site: Site): Promise<void> {
  const alice = await site.chromium.someone();
  const page = await alice.newPage();
  await signInAtSite(site, page, 'alice');
  await goToCommunity(site, page, 'late');
  expectMatch(page.url(), /\/confirm\?/, 'the question');
  await page.waitForTimeout((SIGN_IN_SECONDS + 1) * 1000);
  await page.getByRole('button', { name: 'Link', exact: true }).click();
  expectMatch(await textOf(page), /took too long/, 'reason');
  expectEqual((await askAsTeapot(site, 'late')).status, 401, 'not linked');
  await alice.close();
}

const changesSchema = z.object({
  changes: z.array(z.object({ state: z.string(), sub: z.string() })),
  next: z.string(),
});

async function changes({ suite, addresses, secret }: Site, after: string) {
  const { stdout } = await suite.tools.succeed('curl', [
    ...['--silent', '--fail', '--cacert', suite.instance.endpoints.ca],
    ...[
      '--header',
      `X-API-Key: ${secret}-hpc`,
      `${addresses.linking}/api/v2/sites/hpc/changes?after=${after}`,
    ],
  ]);
  return changesSchema.parse(JSON.parse(stdout));
}

/** What Chromium says when a page wants something that its policy forbids. */
function watchPolicy(context: BrowserContext): string[] {
  const refusals: string[] = [];
  context.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) refusals.push(message.text());
  });
  return refusals;
}
