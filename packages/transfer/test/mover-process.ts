// A mover in a process of its own, for tests that kill it. Standard input: JSON with what it needs; prints `ready`.
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { createSecretBox, Secret } from '@weft/kernel/config';
import { createWakeUps, openDatabase } from '@weft/kernel/database';
import { createGuardedFetch, createOutgoingRules } from '@weft/kernel/http';
import { createAlone } from '@weft/kernel/processes';
import { createLogger, createMetrics } from '@weft/kernel/telemetry';
import { createTestIssuer } from '@weft/kernel/testing';
import { z } from 'zod';
import { transferConfig } from '../src/config.ts';
import { startMoveFiles } from '../src/daemons/move-files.ts';

const input = z
  .object({
    database: z.union([
      z.object({ url: z.string() }),
      z.object({
        connection: z.object({
          host: z.string(),
          port: z.number().optional(),
          user: z.string(),
          password: z.string(),
          database: z.string(),
        }),
      }),
    ]),
    allowOrigins: z.array(z.string()),
    config: z.unknown(),
  })
  .parse(JSON.parse(await text(process.stdin)));

const log = createLogger({ name: 'mover', level: 'silent' });
const target =
  'url' in input.database
    ? { url: input.database.url }
    : {
        connection: {
          host: input.database.connection.host,
          user: input.database.connection.user,
          database: input.database.connection.database,
          password: new Secret(input.database.connection.password),
          ...(input.database.connection.port === undefined ? {} : { port: input.database.connection.port }),
        },
      };
await startMoveFiles({
  config: transferConfig.parse(input.config),
  database: await openDatabase({ ...target, log }),
  wakeUps: createWakeUps({ ...target, log }),
  verifier: (await createTestIssuer()).verifier,
  tokens: { own: refuse, exchange: refuse, refresh: refuse },
  fetch: createGuardedFetch({ allowOrigins: input.allowOrigins }),
  outgoing: createOutgoingRules({ allowOrigins: input.allowOrigins }),
  secrets: createSecretBox(randomBytes(32)),
  siblings: createAlone(),
  log,
  metrics: createMetrics(),
  dataFolder: tmpdir(),
});
process.stdout.write('ready\n');

async function refuse(): Promise<never> {
  throw new Error('a mover asks for no tokens');
}
