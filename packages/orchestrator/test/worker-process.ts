// The daemons of the orchestrator in a process of their own, for tests that kill it. One JSON object as argument.

import { createSecretBox, Secret } from '@weft/kernel/config';
import { createWakeUps, openDatabase } from '@weft/kernel/database';
import { createLogger } from '@weft/kernel/telemetry';
import { createTestContext } from '@weft/kernel/testing';
import { z } from 'zod';
import { configSchema, orchestrator } from '../src/index.ts';
import { fakeTokens } from './fake-tokens.ts';

const given = z
  .object({
    connection: z.object({
      host: z.string(),
      port: z.int().optional(),
      user: z.string(),
      password: z.string(),
      database: z.string(),
    }),
    config: z.unknown(),
    origins: z.array(z.string()),
    secretKey: z.string(),
  })
  .parse(JSON.parse(process.argv[2] ?? ''));

const { port, password, ...rest } = given.connection;
const connection = { ...rest, password: new Secret(password), ...(port === undefined ? {} : { port }) };
const log = createLogger({ name: 'worker', level: 'silent' });
const database = await openDatabase({ connection, log, maxConnections: 8 });
const wakeUps = createWakeUps({ connection, log });
const context = {
  ...createTestContext({
    test: { database, wakeUps, log, target: { connection }, another: unsupported, stop: unsupported },
    config: configSchema.parse(given.config),
    verifier: { verify: unsupported, close: unsupported },
    tokens: fakeTokens([]),
    allowOrigins: given.origins,
  }),
  secrets: createSecretBox(Buffer.from(given.secretKey, 'base64')),
};
for (const daemon of orchestrator.daemons) await daemon.start(context);
console.log('ready');

async function unsupported(): Promise<never> {
  throw new Error('not in this process');
}
