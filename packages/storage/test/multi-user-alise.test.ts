import { statSync } from 'node:fs';
import { join } from 'node:path';
import { identity } from '@weft/identity';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoAccounts } from './local-accounts.ts';
import { type MultiUserSite, startMultiUserSite } from './multi-user-site.ts';
import { send } from './start-door.ts';

const reason = whyNoAccounts();
const SECRET = 'the secret of the storage, 256 bits of it';

describe.skipIf(reason !== undefined)(
  `local users by account linking${reason ? ` (skipped: ${reason})` : ''}`,
  () => {
    let users: MultiUserSite;
    let linking: { stop(): Promise<void> };
    let url: string;

    beforeAll(async () => {
      users = await startMultiUserSite({
        users: 3,
        multiUser: { mapping: [{ method: 'alise' }] },
        async beside(site, accounts) {
          const [provider, alise] = [await site.reserve(), await site.reserve()];
          url = alise.url;
          const link = (username: string, subject: string) => ({
            username,
            external: [{ issuer: site.issuer.issuer, subject }],
          });
          const config = {
            listen: { port: provider.port },
            url: provider.url,
            clients: [
              {
                id: 'storage',
                secret: SECRET,
                grants: ['client_credentials'],
                allow: [{ audience: url, scopes: ['alise.mapping:observatory'] }],
              },
            ],
            alise: {
              listen: { port: alise.port },
              url,
              sites: [
                {
                  name: 'observatory',
                  external: [{ name: 'community', issuer: site.issuer.issuer }],
                  links: [
                    ...accounts.map(({ name }, index) => link(name, `user${index + 1}`)),
                    link('root', 'superuser'),
                    link('weft-no-such-account', 'ghost'),
                  ],
                },
              ],
            },
          };
          const issuers = [provider.url, site.issuer.issuer].map((issuer) => ({ issuer }));
          linking = await site.startBeside(identity, config, { issuers });
          const credentials = { issuer: provider.url, client_id: 'storage', client_secret: SECRET };
          return { config: { identity: { url } }, settings: { credentials: { storage: credentials } } };
        },
      });
    });
    afterAll(() => users?.stop());

    const put = (user: string) => users.as(user, 'PUT', '/home/own', { body: `of ${user}` });

    /** As whoever administers the links of the site. */
    async function change(user: string, action: 'suspend' | 'resume'): Promise<void> {
      const token = await users.site.issuer.token({
        sub: 'helpdesk',
        aud: url,
        scope: 'alise.mapping:observatory alise.admin:observatory',
      });
      const call = async (method: string, path: string) => {
        const target = `${url}/api/v2/sites/observatory/mappings${path}`;
        const { status, text } = await send(users.site.agent, method, target, { token });
        expect(status, text).toBe(200);
        return JSON.parse(text);
      };
      const { mappings } = await call('GET', `?username=${users.account(user).name}`);
      // Beside the federated identity stands the one at the site's own provider.
      const { issuer } = users.site.issuer;
      const link = mappings.find(({ iss }: { iss: string }) => iss === issuer);
      await call('POST', `/${link.link_id}:${action}`);
    }

    it('lead from a link to the owner of a file', async () => {
      for (const user of ['user1', 'user2']) {
        expect((await put(user)).status).toBe(201);
        const { name, uid, gid } = users.account(user);
        const stats = statSync(join(users.folder, 'homes', name, 'own'));
        expect([stats.uid, stats.gid]).toEqual([uid, gid]);
      }
    });

    it('refuse whoever is not linked, and say where to link', async () => {
      const answer = await put('stranger');
      expect([answer.status, answer.text]).toEqual([403, expect.stringContaining(url)]);
    });

    it('refuse links to root and to accounts that are not there', async () => {
      expect((await put('superuser')).status).toBe(403);
      expect((await put('ghost')).status).toBe(403);
    });

    it('refuse a suspended user at once, without waiting for what is remembered, and take them back', async () => {
      expect((await put('user3')).status).toBe(201);
      await change('user3', 'suspend');
      await expect.poll(async () => (await put('user3')).status, { interval: 20 }).toBe(403);
      await change('user3', 'resume');
      await expect.poll(async () => (await put('user3')).status, { interval: 20 }).toBe(204);
      expect((await put('user1')).status).toBe(204);
    });

    it('go on while account linking is down, for those who are known, and say 503 to others', async () => {
      expect((await put('user1')).status).toBe(204);
      await linking.stop();
      expect((await put('user1')).status).toBe(204);
      expect((await put('newcomer')).status).toBe(503);
    });
  },
);
