import { existsSync } from 'node:fs';
import { createTokenSource, type TokenSource } from '@weft/kernel/auth';
import { type Settings, settingsSchema } from '@weft/kernel/component';
import { parseConfiguration, readConfigurationFile, readConfiguredFile, Secret } from '@weft/kernel/config';
import { ExitError, WeftError } from '@weft/kernel/errors';
import { createGuardedFetch, type GuardedFetch } from '@weft/kernel/http';
import { createLogger } from '@weft/kernel/telemetry';
import { examineStorage, storageSection } from '@weft/storage';
import { locateDataFolder } from '../data-folder.ts';
import type { Finding } from '../examine-machine.ts';
import { refuseUnknownSections } from '../serve.ts';
import { printFindings } from './doctor.ts';

export interface DoctorStorageOptions {
  readonly data: string;
  readonly config?: string;
  readonly site?: string;
  readonly account?: string;
  readonly json?: boolean;
}

/** `weft doctor storage`: what the storages of a configuration have and lack here. Ends with 69 when something would fail. */
export async function doctorStorage(options: DoctorStorageOptions): Promise<void> {
  const file = options.config ?? locateDataFolder(options.data).configuration;
  if (!existsSync(file))
    throw new ExitError(
      66,
      `There is no ${file}. Mend: --config FILE, or --data of an instance that has run.`,
    );
  const raw = readConfigurationFile(file, process.env);
  refuseUnknownSections(raw, file);
  const settings = parseConfiguration(settingsSchema, raw, { source: file });
  const { instances } = parseConfiguration(storageSection, raw.storage ?? {}, {
    source: file,
    prefix: ['storage'],
  });
  const chosen = instances.filter(({ site }) => options.site === undefined || site === options.site);
  if (chosen.length === 0) {
    const sites = instances.map(({ site }) => site).join(', ');
    throw new ExitError(64, `${file} has no such storage. Sites: ${sites || 'none'}.`);
  }
  const authorities = settings.outgoing.certificate_authorities.map((authority) =>
    readConfiguredFile('outgoing.certificate_authorities', authority).toString('utf8'),
  );
  const fetch = createGuardedFetch({
    allowOrigins: settings.outgoing.allow_origins,
    certificateAuthorities: authorities,
  });
  try {
    const findings: Finding[] = [];
    for (const config of chosen) {
      const found = await examineStorage({
        config,
        fetch,
        tokens: tokensOf(settings, fetch),
        tls: settings.tls,
        issuers: settings.issuers.map(({ issuer }) => issuer),
        ...(options.account === undefined ? {} : { account: options.account }),
      });
      const prefix = chosen.length === 1 ? '' : `${config.site}: `;
      findings.push(...found.map((one) => ({ ...one, name: `${prefix}${one.name}` })));
    }
    printFindings(findings, options, 'This machine can serve storage.');
  } finally {
    await fetch.close();
  }
}

function tokensOf({ credentials }: Settings, fetch: GuardedFetch): TokenSource {
  const own = credentials.storage;
  const secret =
    own?.client_secret ??
    (own?.client_secret_file === undefined
      ? undefined
      : new Secret(
          readConfiguredFile('credentials.storage.client_secret_file', own.client_secret_file)
            .toString('utf8')
            .trim(),
        ));
  const none = async () => {
    throw new WeftError('unavailable', 'no-credentials', 'The configuration has no credentials.storage.');
  };
  if (!own || !secret) return { own: none, exchange: none, refresh: none };
  return createTokenSource({
    credentials: { issuer: own.issuer, clientId: own.client_id, clientSecret: secret },
    fetch,
    log: createLogger({ name: 'doctor', level: 'silent' }),
  });
}
