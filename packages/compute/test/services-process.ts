/** The daemons of compute in a process of their own, for tests that kill it: `node services-process.ts` with its set-up on standard input. */
import { text } from 'node:stream/consumers';
import { createSecretBox, Secret } from '@weft/kernel/config';
import {
  createWakeUps,
  type DatabaseConnection,
  type DatabaseTarget,
  openDatabase,
} from '@weft/kernel/database';
import { createLogger } from '@weft/kernel/telemetry';
import { createTestContext, createTestIssuer } from '@weft/kernel/testing';
import { configSchema } from '../src/config.ts';
import { compute } from '../src/index.ts';
import { fakeTokens } from './fake-peers.ts';

export interface ProcessSetUp {
  readonly url?: string;
  readonly connection?: Omit<DatabaseConnection, 'password'> & { readonly password: string };
  readonly config: unknown;
  /** Base64. */
  readonly secretKey: string;
}

const setUp: ProcessSetUp = JSON.parse(await text(process.stdin));
const target: DatabaseTarget = setUp.connection
  ? { connection: { ...setUp.connection, password: new Secret(setUp.connection.password) } }
  : { url: setUp.url ?? '' };
const log = createLogger({ name: 'services', level: 'silent' });
const database = await openDatabase({ ...target, log });
const wakeUps = createWakeUps({ ...target, log });
const issuer = await createTestIssuer();
const context = createTestContext({
  test: {
    database,
    wakeUps,
    target,
    log,
    another: async () => ({ database, wakeUps }),
    stop: async () => undefined,
  },
  config: configSchema.parse(setUp.config),
  verifier: issuer.verifier,
  tokens: fakeTokens(),
});
const withKey = { ...context, secrets: createSecretBox(Buffer.from(setUp.secretKey, 'base64')) };
await Promise.all(compute.daemons.map((daemon) => daemon.start(withKey)));
process.stdout.write('ready\n');
