import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Suite } from '../harness/peer.ts';
import type { Chromium } from './chromium.ts';
import { textOf } from './chromium.ts';

/** What the README promises: after `weft up` alice links her account at a site with her community account. */
export async function linkInEmbeddedDefault(suite: Suite, chromium: Chromium): Promise<void> {
  await suite.check('in the embedded default alice links her accounts between both issuers', async () => {
    const page = await linkAtCloud(suite, chromium);
    expectMatch(await textOf(page), /Linked\./, 'list');
    await page.context().close();
  });
  await suite.check('and a service of the site knows whose token it is', async () => {
    const { sub, iss } = claimsOf(await suite.instance.token());
    const issuer = createHash('sha1').update(iss).digest('hex');
    // The key, too, as Teapot's test rig gets it: with a token of somebody whom the site's own provider knows.
    const person = await suite.instance.weft('token', '--user', 'alice01', '--site-account');
    const { apikey } = keySchema.parse(
      await askJson(suite, `/api/v1/target/cloud/get_apikey`, `Authorization: Bearer ${person.trim()}`),
    );
    const found = mappingSchema.parse(
      await askJson(suite, `/api/v1/target/cloud/mapping/issuer/${issuer}/user/${sub}?apikey=${apikey}`),
    );
    expectEqual(found.internal.username, 'alice01', 'local account');
  });
}

const keySchema = z.object({ apikey: z.string().regex(/^[a-z]{32}$/) });
const mappingSchema = z.object({ internal: z.object({ username: z.string() }) });

async function askJson({ instance, tools }: Suite, target: string, header = 'Accept: */*'): Promise<unknown> {
  const { ca, identity } = instance.endpoints;
  const { stdout } = await tools.succeed('curl', [
    ...['--silent', '--fail', '--cacert', ca, '--header', header, `${identity}${target}`],
  ]);
  return JSON.parse(stdout);
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
