import path from 'node:path';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';

const verdictSchema = z.object({
  issuer: z.string().optional(),
  subject: z.string().optional(),
  verified: z.boolean().optional(),
  userinfo: z.looseObject({}).nullish(),
  refused: z.string().optional(),
});

/** flaat of PyPI: the verifier inside Teapot, motley_cue and ALISE. It asks our userinfo with whatever token it gets. */
const peer: Peer = {
  name: 'flaat',
  components: ['identity'],
  async install(tools) {
    await tools.needPython('flaat', ['flaat'], ['python3-venv']);
  },

  async quick({ instance, tools, check }) {
    const bin = await tools.needPython('flaat', []);
    const { issuer, ca, identity } = instance.endpoints;
    const verdictOf = async (token: string) => {
      const script = path.join(import.meta.dirname, 'verify.py');
      const { stdout } = await tools.run(path.join(bin, 'python'), [script, issuer, identity, token], {
        env: { REQUESTS_CA_BUNDLE: ca, SSL_CERT_FILE: ca },
      });
      return verdictSchema.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
    };
    const token = await instance.token({ user: 'alice', audience: identity, scope: 'openid profile' });

    await check('verifies our token and reads userinfo with it', async () => {
      const verdict = await verdictOf(token);
      expectEqual([verdict.issuer, verdict.verified], [issuer, true], 'verdict');
      expectEqual(verdict.userinfo?.sub, verdict.subject, 'subject of userinfo');
      expectEqual(verdict.userinfo?.preferred_username, 'alice', 'name');
    });
    await check('refuses it with one character changed', async () => {
      const at = token.lastIndexOf('.') + 10;
      const forged = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
      expectMatch((await verdictOf(forged)).refused ?? '', /\S/, 'refusal');
    });
  },
};

export default peer;
