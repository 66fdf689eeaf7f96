import { randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TokenSource, TokenVerifier } from '../auth/index.ts';
import type { ComponentContext } from '../component/component.ts';
import { createSecretBox } from '../config/index.ts';
import { WeftError } from '../errors/index.ts';
import { createGuardedFetch, createOutgoingRules, type GuardedFetch } from '../http/index.ts';
import { createAlone } from '../processes/index.ts';
import { createMetrics } from '../telemetry/index.ts';
import type { TestDatabase } from './test-database.ts';

export interface TestContextOptions<Config> {
  test: TestDatabase;
  /** Parsed: `schema.parse({ … })`. */
  config: Config;
  /** Usually `issuer.verifier` of a test issuer. */
  verifier: TokenVerifier;
  /** Default: refuses, as a component without credentials does. */
  tokens?: TokenSource;
  /** Default: the guarded fetch, which reaches nothing on this machine but `allowOrigins`. */
  fetch?: GuardedFetch;
  allowOrigins?: readonly string[];
}

/**
 * What a component is given, on a test's database: key and data folder are new each time.
 *
 * @example
 * const issuer = await createTestIssuer();
 * const context = createTestContext({ test, config: configSchema.parse({ … }), verifier: issuer.verifier });
 * const [listener] = await datalake.listeners(context);
 */
export function createTestContext<Config>(options: TestContextOptions<Config>): ComponentContext<Config> {
  const { test, config, verifier } = options;
  return {
    config,
    database: test.database,
    wakeUps: test.wakeUps,
    verifier,
    tokens: options.tokens ?? NO_TOKENS,
    fetch: options.fetch ?? createGuardedFetch({ allowOrigins: options.allowOrigins ?? [] }),
    outgoing: createOutgoingRules({ allowOrigins: options.allowOrigins ?? [] }),
    secrets: createSecretBox(randomBytes(32)),
    siblings: createAlone(),
    log: test.log,
    metrics: createMetrics(),
    dataFolder: mkdtempSync(join(tmpdir(), 'weft-test-')),
  };
}

async function refuse(): Promise<never> {
  throw new WeftError('unavailable', 'no-credentials', 'This test gives its component no credentials.');
}

const NO_TOKENS: TokenSource = { own: refuse, exchange: refuse, refresh: refuse };
