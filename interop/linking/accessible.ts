import { readFileSync } from 'node:fs';
import path from 'node:path';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { z } from 'zod';
import { expectEqual } from '../harness/expect.ts';
import type { Suite } from '../harness/peer.ts';
import type { Chromium } from './chromium.ts';

const resultSchema = z.object({
  violations: z.array(z.object({ id: z.string(), nodes: z.array(z.object({ html: z.string() })) })),
});

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** Every kind of page that people see, by axe's rules (WCAG 2.2 A and AA), light and dark; and the way of the Tab key. */
export async function pagesAreAccessible(suite: Suite, chromium: Chromium): Promise<void> {
  const { issuer, identity } = suite.instance.endpoints;
  const secret = (name: string) =>
    readFileSync(path.join(suite.instance.data, 'secrets', `${name}.secret`), 'utf8').trim();
  const alice = await chromium.someone({ phone: true, scripts: true });
  const page = await alice.newPage();
  const faults: string[] = [];
  const look = async (name: string) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      // In the dark only the colours are others.
      const rules = colorScheme === 'light' ? RULES : ['cat.color'];
      faults.push(...(await faultsOf(page, rules)).map((fault) => `${name}, ${colorScheme}: ${fault}`));
    }
  };
  /** Does what leads to another page, and waits until that one is there. */
  const follow = async (action: () => Promise<unknown>) => {
    await page.waitForLoadState('load');
    const arrived = page.waitForEvent('load');
    await action();
    await arrived;
  };
  const signIn = async (user: string, password: string) => {
    await page.waitForSelector('input[name=password]');
    await page.getByLabel('User name').fill(user);
    await page.getByLabel('Password').fill(password);
    await page.keyboard.press('Enter');
  };

  await page.goto('data:text/html,<input><p style="color:%23ccc">pale</p>');
  expectEqual((await faultsOf(page, RULES)).length > 1, true, 'axe sees the faults of a bad page');
  await page.goto(identity);
  await look('sites');
  await follow(() => page.getByRole('link', { name: 'hpc' }).click());
  await look('site');
  await page.getByRole('button', { name: /^Sign in/ }).click();
  await page.waitForSelector('input[name=password]');
  expectEqual(await tabOrder(page, 3), ['username', 'password', 'Sign in'], 'order of the sign-in page');
  await follow(() => signIn('alice01', 'wrong'));
  await look('sign-in');
  await signIn('alice01', secret('user-alice01'));
  await page.getByRole('button', { name: /^Link the/ }).click();
  await signIn('alice', secret('user-alice'));
  await page.waitForURL('**/confirm?*');
  await look('confirmation');
  expectEqual(await tabOrder(page, 2), ['Link', 'Cancel'], 'order of the confirmation');
  await follow(() => page.getByRole('button', { name: 'Link', exact: true }).click());
  await look('links');
  await follow(() => page.getByRole('button', { name: /^Unlink/ }).click());
  await follow(() => page.getByRole('button', { name: 'Sign out', exact: true }).click());
  await look('signed out');
  await page.goto(`${identity}/callback?state=none`);
  await look('error');
  await page.goto(`${issuer}/device`);
  await look('device code');
  await page.goto(await authorizationOf(suite));
  await look('consent');
  await page.goto(`${issuer}/account`);
  await look('account');
  await page.goto(`${issuer}/endsession`);
  await look('sign-out');
  await alice.close();
  expectEqual(faults, [], 'faults');
}

async function faultsOf(page: Page, rules: readonly string[]): Promise<string[]> {
  await page.evaluate(axe.source);
  const result: unknown = await page.evaluate(`axe.run({ runOnly: ${JSON.stringify(rules)} })`);
  const { violations } = resultSchema.parse(result);
  return violations.map(({ id, nodes }) => `${id} ${nodes[0]?.html}`);
}

/** What the Tab key reaches, from the element that has the focus first: what stands on it, or its name. */
async function tabOrder(page: Page, count: number): Promise<string[]> {
  const reached: string[] = [];
  if ((await page.evaluate('document.activeElement === document.body')) === true)
    await page.keyboard.press('Tab');
  while (reached.length < count) {
    const focused = 'document.activeElement.textContent || document.activeElement.name';
    reached.push(String(await page.evaluate(focused)));
    await page.keyboard.press('Tab');
  }
  return reached;
}

const registeredSchema = z.looseObject({ client_id: z.string() });

/** Where an application that has registered itself sends people. */
async function authorizationOf({ instance, tools }: Suite): Promise<string> {
  const { issuer, ca } = instance.endpoints;
  const redirect = 'http://127.0.0.1:4711/callback';
  const { stdout } = await tools.succeed('curl', [
    ...['--silent', '--fail', '--cacert', ca, '--json', JSON.stringify({ redirect_uris: [redirect] })],
    `${issuer}/register`,
  ]);
  const parameters = new URLSearchParams({
    ...{ client_id: registeredSchema.parse(JSON.parse(stdout)).client_id, response_type: 'code' },
    ...{ redirect_uri: redirect, scope: 'openid profile storage.read:/' },
    ...{ code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' },
  });
  return `${issuer}/authorize?${parameters}`;
}
