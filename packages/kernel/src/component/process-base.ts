import { hostname } from 'node:os';
import path from 'node:path';
import {
  type ClientCertificates,
  createClientCertificates,
  createRevocations,
  createTokenVerifier,
  type Revocations,
  type WatchedVerifier,
} from '../auth/index.ts';
import {
  createSecretBox,
  EXIT_CONFIGURATION,
  readConfiguredFile,
  requirePrivateFile,
  type SecretBox,
} from '../config/index.ts';
import { createWakeUps, type Database, openDatabase, type WakeUps } from '../database/index.ts';
import { describeError, ExitError } from '../errors/index.ts';
import {
  createGuardedFetch,
  createOutgoingRules,
  type OutgoingRules,
  openServerCertificate,
  type ServerCertificate,
} from '../http/index.ts';
import { findSiblings, type Group } from '../processes/index.ts';
import { createLogger, createMetrics, type Logger, type Metrics, startTracing } from '../telemetry/index.ts';
import { connectionsOf, reachDatabase } from './database-target.ts';
import type { Settings } from './settings.ts';
import { trustedIssuersOf } from './trusted-issuers.ts';

/** What the components of one process share. */
export interface ProcessBase {
  readonly settings: Settings;
  readonly database: Database;
  readonly wakeUps: WakeUps;
  readonly verifier: WatchedVerifier;
  readonly fetch: ReturnType<typeof createGuardedFetch>;
  readonly outgoing: OutgoingRules;
  readonly secrets: SecretBox;
  readonly certificate: ServerCertificate;
  /** Absent when the configuration does not say whom to trust. */
  readonly clientCertificates: ClientCertificates | undefined;
  readonly siblings: Group;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/**
 * Opens everything that components stand on. What the configuration names is read before anything is connected, so that a
 * wrong path leaves no trace. `close` lets go of everything in reverse.
 *
 * @throws {ExitError} 69 database unreachable, 77 refused, 78 configuration.
 */
export async function openProcess(
  settings: Settings,
  names: { log: string; application: string },
): Promise<{ base: ProcessBase; close(): Promise<void> }> {
  const log = createLogger({ name: names.log, level: settings.log.level });
  const siblings = findSiblings();
  const secrets = secretBoxOf(settings);
  const authorities = settings.outgoing.certificate_authorities.map((file) =>
    readConfiguredFile('outgoing.certificate_authorities', file).toString('utf8'),
  );
  const certificate = certificateOf(settings, log);

  const closers: (() => Promise<void> | void)[] = [() => certificate.close()];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    if (settings.tracing) {
      const { otlp_url: url, ratio } = settings.tracing;
      const tracing = await startTracing({ url, ratio, serviceName: `weft ${names.log}` });
      closers.push(() => tracing.stop());
    }
    const server = await reachDatabase(settings, log);
    closers.push(() => server.stop());
    const database = await openDatabase({
      ...server.target,
      log,
      applicationName: names.application,
      maxConnections: connectionsOf(settings, siblings.count),
    });
    closers.push(() => database.close());
    const reachable = {
      allowOrigins: settings.outgoing.allow_origins,
      certificateAuthorities: authorities,
    };
    const fetch = createGuardedFetch(reachable);
    closers.push(() => fetch.close());
    const wakeUps = createWakeUps({ ...server.target, log });
    closers.push(() => wakeUps.close());
    const revocations = createRevocations({ database, wakeUps, log });
    closers.push(() => revocations.close());
    const verifier = createTokenVerifier({
      revocations,
      wakeUps,
      issuers: trustedIssuersOf(settings),
      fetch,
      log,
      // The last good keys survive a restart, so that an issuer that is down then delays nothing.
      cacheFolder: path.join(settings.data_folder, 'issuers'),
    });
    closers.push(() => verifier.close());
    const clientCertificates = await clientCertificatesOf(settings, revocations, log);
    closers.push(() => clientCertificates?.close());
    const metrics = createMetrics();
    if (siblings.count > 1) metrics.registry.setDefaultLabels({ process: String(siblings.number) });
    return {
      base: {
        settings,
        database,
        wakeUps,
        verifier,
        fetch,
        outgoing: createOutgoingRules(reachable),
        secrets,
        certificate,
        clientCertificates,
        siblings,
        log,
        metrics,
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function secretBoxOf(settings: Settings): SecretBox {
  const file = settings.secret_key_file;
  const key = readConfiguredFile('secret_key_file', file);
  if (key.length === 32) {
    requirePrivateFile('secret_key_file', file);
    return createSecretBox(key);
  }
  throw new ExitError(
    EXIT_CONFIGURATION,
    `secret_key_file: ${file} holds ${key.length} bytes, not 32. Mend: ` +
      `head -c 32 /dev/urandom > ${file} && chmod 600 ${file}`,
  );
}

async function clientCertificatesOf(
  { client_certificates: trust }: Settings,
  revocations: Revocations,
  log: Logger,
): Promise<ClientCertificates | undefined> {
  if (!trust) return undefined;
  try {
    return await createClientCertificates({
      authoritiesFolder: trust.authorities_folder,
      vomsFolder: trust.voms_folder,
      requireRevocationLists: trust.require_revocation_lists,
      requireValidAttributes: trust.require_valid_attributes,
      hosts: [hostname(), ...trust.hosts],
      grants: trust.grants,
      revocations,
      log,
    });
  } catch (cause) {
    throw new ExitError(
      EXIT_CONFIGURATION,
      `client_certificates: ${describeError(cause)}. Mend: name folders that this account can read.`,
      { cause },
    );
  }
}

function certificateOf({ tls }: Settings, log: Logger): ServerCertificate {
  readConfiguredFile('tls.certificate_file', tls.certificate_file);
  readConfiguredFile('tls.key_file', tls.key_file);
  try {
    return openServerCertificate({ certificateFile: tls.certificate_file, keyFile: tls.key_file }, log);
  } catch (cause) {
    throw new ExitError(EXIT_CONFIGURATION, `tls: ${describeError(cause)}. Mend: name a PEM pair.`, {
      cause,
    });
  }
}
