import path from 'node:path';
import { z } from 'zod';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer } from '../harness/peer.ts';

const verdictSchema = z.object({
  allowed: z.boolean(),
  subject: z.string().optional(),
  reason: z.string().nullish(),
  refused: z.string().optional(),
});

/** The SciTokens library of PyPI reads our keys and judges our tokens' paths. */
const peer: Peer = {
  name: 'scitokens',
  components: ['identity'],
  async install(tools) {
    await tools.needPython('scitokens', ['scitokens'], ['python3-venv']);
  },

  async quick({ instance, tools, folder, check }) {
    const bin = await tools.needPython('scitokens', []);
    const { issuer, ca, sites } = instance.endpoints;
    const storage = sites.hpc?.storage ?? '';
    const verdictOf = async (token: string, action: string, file: string, audience = storage) => {
      const script = path.join(import.meta.dirname, 'verify.py');
      const { stdout } = await tools.succeed(
        path.join(bin, 'python'),
        [script, issuer, audience, action, file, token],
        { env: { SSL_CERT_FILE: ca, XDG_CACHE_HOME: folder } },
      );
      return verdictSchema.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
    };
    const token = await instance.token({ user: 'admin', audience: storage, scope: 'storage.read:/data' });

    await check('takes our token for the paths that it names', async () => {
      const { allowed, reason, refused } = await verdictOf(token, 'storage.read', '/data/file');
      expectEqual([allowed, reason ?? refused ?? ''], [true, ''], 'verdict');
    });
    await check('refuses other paths, a path that only begins alike, and other actions', async () => {
      expectEqual((await verdictOf(token, 'storage.read', '/other')).allowed, false, 'other path');
      expectEqual((await verdictOf(token, 'storage.read', '/database')).allowed, false, 'begins alike');
      expectEqual((await verdictOf(token, 'storage.modify', '/data/file')).allowed, false, 'other action');
    });
    await check('refuses it for another audience', async () => {
      const verdict = await verdictOf(token, 'storage.read', '/data/file', 'https://elsewhere.example');
      expectMatch(`${verdict.reason} ${verdict.refused}`, /aud/i, 'refusal');
      expectEqual(verdict.allowed, false, 'verdict');
    });
    await check('refuses it with one character changed', async () => {
      const at = token.lastIndexOf('.') + 10;
      const forged = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
      expectMatch((await verdictOf(forged, 'storage.read', '/data/file')).refused ?? '', /\S/, 'refusal');
    });
  },
};

export default peer;
