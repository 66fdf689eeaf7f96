import path from 'node:path';
import { z } from 'zod';
import type { Peer } from '../harness/peer.ts';

const outcomeSchema = z.object({ name: z.string(), failed: z.string().optional() });

/** openid-client and oauth4webapi, certified relying parties, with all their checks on. */
const peer: Peer = {
  name: 'openid-client',
  components: ['identity'],
  // They come with the workspace.
  install: () => Promise.resolve(),

  async quick({ instance, tools, check }) {
    const { issuer, ca, sites, datalake, orchestrator } = instance.endpoints;
    const { stdout } = await tools.succeed(
      process.execPath,
      [
        path.join(import.meta.dirname, 'relying-party.ts'),
        ...[issuer, ca, sites.hpc?.storage ?? ''],
        path.join(instance.data, 'secrets', 'user-alice.secret'),
        ...[datalake, orchestrator],
      ],
      { env: { NODE_EXTRA_CA_CERTS: ca } },
    );
    for (const line of stdout.trim().split('\n')) {
      const { name, failed } = outcomeSchema.parse(JSON.parse(line));
      await check(name, async () => {
        if (failed !== undefined) throw new Error(failed);
      });
    }
  },
};

export default peer;
