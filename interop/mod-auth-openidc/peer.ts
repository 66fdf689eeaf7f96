import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { createPerson } from '../harness/person.ts';
import { serveWeft } from '../harness/serve.ts';
import { startApache } from './apache.ts';

const PASSWORD = 'correct horse battery';
const ALICE = '6f0c1d9e-0000-4000-8000-000000000001';

/**
 * Apache with mod_auth_openidc, a certified relying party, protects a page with our provider: code with PKCE, nonce and `iss`,
 * userinfo, logout led by the application, and back-channel logout.
 */
const peer: Peer = {
  name: 'mod-auth-openidc',
  components: ['identity'],
  install: (tools) => tools.needPackages(['libapache2-mod-auth-openidc', 'curl']),

  async quick(suite) {
    const port = Number(new URL(suite.instance.endpoints.issuer).port) + 380;
    const [issuer, site] = [`https://localhost:${port}`, `https://localhost:${port + 1}`];
    const secret = randomBytes(24).toString('hex');
    const provider = await serveProvider(suite, { issuer, site, secret });
    try {
      const apache = await startApache(suite, { issuer, site, secret, port: port + 1 });
      try {
        await check(suite, issuer, site);
      } finally {
        await apache.stop();
      }
    } finally {
      await provider.stop();
    }
  },
};

export default peer;

function serveProvider(suite: Suite, { issuer, site, secret }: Record<'issuer' | 'site' | 'secret', string>) {
  return serveWeft(
    suite,
    ['identity'],
    {
      outgoing: { allow_origins: [site], certificate_authorities: [suite.instance.endpoints.ca] },
      identity: {
        listen: { host: '127.0.0.1', port: Number(new URL(issuer).port) },
        url: issuer,
        users: [{ username: 'alice', subject: ALICE, name: 'Alice Example', password: PASSWORD }],
        clients: [
          {
            id: 'apache',
            secret,
            grants: ['authorization_code'],
            redirect_uris: [`${site}/protected/callback`],
            post_logout_redirect_uris: [`${site}/bye`],
            backchannel_logout_uri: `${site}/protected/callback?logout=backchannel`,
          },
        ],
      },
    },
    [issuer],
  );
}

async function check(suite: Suite, issuer: string, site: string): Promise<void> {
  const ca = readFileSync(suite.instance.endpoints.ca);
  const newPerson = () => createPerson({ ca, origins: [issuer, site] });
  const page = `${site}/protected/page`;
  const signIn = async (person: ReturnType<typeof newPerson>) => {
    expectMatch((await person.get(page)).text, /Sign in/, 'the first visit');
    return person.submit({ username: 'alice', password: PASSWORD });
  };
  const isOut = async (person: ReturnType<typeof newPerson>) =>
    /name="password"/.test((await person.get(page)).text);

  await suite.check('shows the page to whom our provider has signed in, with her claims', async () => {
    const seen = await signIn(newPerson());
    expectEqual([seen.status, seen.url.href], [200, page], 'the page after the sign-in');
    expectMatch(seen.text, new RegExp(`${ALICE} Alice Example`), 'the claims');
  });

  await suite.check('signs out at our provider and comes back, when the application leads', async () => {
    const person = newPerson();
    await signIn(person);
    const bye = encodeURIComponent(`${site}/bye`);
    const seen = await person.get(`${site}/protected/callback?logout=${bye}`);
    expectEqual([seen.status, seen.url.pathname], [200, '/bye'], 'where it leads');
    expectEqual(await isOut(person), true, 'signed out at both');
  });

  await suite.check('ends its session when she signs out at our provider (back channel)', async () => {
    const [person, other] = [newPerson(), newPerson()];
    await signIn(person);
    await signIn(other);
    await person.get(`${issuer}/endsession`);
    await person.submit({ decision: 'sign-out' });
    // Its own cookie is still there; the session behind it is not.
    for (const until = Date.now() + 15_000; !(await isOut(person)); await sleep(200))
      if (Date.now() > until) throw new Error('the session at Apache goes on');
    expectEqual((await other.get(page)).status, 200, 'her other browser');
    expectEqual(await isOut(other), false, 'her other browser');
  });
}
