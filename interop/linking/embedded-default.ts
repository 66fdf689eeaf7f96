import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Suite } from '../harness/peer.ts';
import type { Chromium } from './chromium.ts';
import { textOf } from './chromium.ts';

/** What the README promises: after `weft up` alice links her account at a site with her community account. */
export async function linkInEmbeddedDefault(suite: Suite, chromium: Chromium): Promise<void> {
  const { endpoints } = suite.instance;
  await suite.check('in the embedded default alice links her accounts between both issuers', async () => {
    const page = await linkAtCloud(suite, chromium);
    expectMatch(await textOf(page), /Linked\./, 'list');
    await page.context().close();
  });
  await suite.check('and a service of the site knows whose token it is', async () => {
    const { sub, iss } = claimsOf(await suite.instance.token());
    const issuer = createHash('sha1').update(iss).digest('hex');
    const key = await suite.instance.token({
      user: 'admin',
      scope: 'alise.mapping:cloud',
      audience: endpoints.identity,
    });
    const { stdout } = await suite.tools.succeed('curl', [
      ...['--silent', '--fail', '--cacert', endpoints.ca, '--header', `Authorization: Bearer ${key}`],
      `${endpoints.identity}/api/v1/target/cloud/mapping/issuer/${issuer}/user/${sub}`,
    ]);
    expectEqual(JSON.parse(stdout).internal.username, 'alice01', 'local account');
  });
}

/** alice signs in at the site `cloud` and links her community account; gives the page that tells her so. */
export async function linkAtCloud(suite: Suite, chromium: Chromium): Promise<Page> {
  const alice = await chromium.someone({ phone: true });
  const page = await alice.newPage();
  await page.goto(suite.instance.endpoints.identity);
  await page.getByRole('link', { name: 'cloud' }).click();
  await page.getByRole('button', { name: /^Sign in/ }).click();
  await signIn(suite, page, 'alice01');
  expectMatch(await textOf(page), /account alice01 at cloud/, 'who she is');
  await page.getByRole('button', { name: /^Link the/ }).click();
  await signIn(suite, page, 'alice');
  await page.getByRole('button', { name: 'Link', exact: true }).click();
  return page;
}

async function signIn({ instance }: Suite, page: Page, user: string): Promise<void> {
  await page.waitForSelector('input[name=password]');
  const password = readFileSync(path.join(instance.data, 'secrets', `user-${user}.secret`), 'utf8').trim();
  // A wrong password first: the second attempt leads on all the same.
  for (const attempt of ['wrong', password]) {
    await page.getByLabel('User name').fill(user);
    await page.getByLabel('Password').fill(attempt);
    await page.getByRole('button', { name: 'Sign in' }).click();
  }
}

function claimsOf(token: string): { sub: string; iss: string } {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
}
