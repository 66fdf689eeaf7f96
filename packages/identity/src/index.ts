import { fileURLToPath } from 'node:url';
import { type ComponentContext, defineComponent, type ListenerDefinition } from '@weft/kernel/component';
import { sql } from 'kysely';
import { registerAccount } from './api/account.ts';
import { registerAliseAdministration } from './api/alise-administration.ts';
import { registerAliseApiKeys } from './api/alise-api-keys.ts';
import { printAliseError, printAliseNotFound, registerAliseV1 } from './api/alise-v1.ts';
import { registerAliseV2 } from './api/alise-v2.ts';
import { registerAuthorize } from './api/authorize.ts';
import { registerDevice } from './api/device.ts';
import { registerDiscovery } from './api/discovery.ts';
import { registerEndSession } from './api/end-session.ts';
import { registerIssuerAudit } from './api/issuer-administration.ts';
import { createIssuerErrorPrinter } from './api/issuer-errors.ts';
import { registerLinking } from './api/linking.ts';
import { registerMyLinks } from './api/my-links.ts';
import { refuseNul } from './api/refuse-nul.ts';
import { registerRegistration } from './api/registration.ts';
import { registerSignIn } from './api/sign-in.ts';
import { registerSigningKeys } from './api/signing-keys.ts';
import { createSiteLookUps } from './api/site-reader.ts';
import { registerSuspension } from './api/suspension.ts';
import { registerToken } from './api/token.ts';
import { registerTokenInspection } from './api/token-inspection.ts';
import { configSchema, type IdentityConfig } from './config.ts';
import { createAttempts } from './core/attempts.ts';
import { endCredentialsOfBefore } from './core/end-credentials-of-before.ts';
import { createSiteProviders } from './core/linking/site-providers.ts';
import { provisionRealm } from './core/provision-realm.ts';
import { provisionSites } from './core/provision-sites.ts';
import { createRealm, realmConfigs } from './core/realm.ts';
import { ensureSigningKey } from './core/rotate-keys.ts';
import { removeExpired } from './daemons/remove-expired.ts';
import { rotateSigningKeys } from './daemons/rotate-signing-keys.ts';
import { sendLogoutNotices } from './daemons/send-logout-notices.ts';
import { tellExpired } from './daemons/tell-expired-links.ts';
import type { IdentityTables } from './db/schema.ts';

/** The embedded OpenID provider and account linking. */
export const identity = defineComponent({
  name: 'identity',
  config: configSchema,
  migrations: fileURLToPath(new URL('./db/migrations', import.meta.url)),
  prepare: provision,
  listeners,
  daemons: [rotateSigningKeys, removeExpired, tellExpired, sendLogoutNotices],
});

export default identity;

async function provision(context: ComponentContext<IdentityConfig>): Promise<void> {
  const { config, database, wakeUps } = context;
  await Promise.all(realmConfigs(config).map(([realm]) => ensureSigningKey(context, realm)));
  await database.transaction<void, IdentityTables>(async (tx) => {
    // Several processes start at once; the second one finds everything done.
    await sql`select pg_advisory_xact_lock(hashtext('identity.provision'))`.execute(tx);
    const otherAudiences = config.alise === undefined ? [] : [config.alise.url];
    for (const [realm, realmConfig] of realmConfigs(config))
      await provisionRealm(tx, wakeUps, realm, realmConfig, otherAudiences);
    await endCredentialsOfBefore(tx, wakeUps, realmConfigs(config));
    if (config.alise !== undefined) await provisionSites(tx, wakeUps, config.alise);
  });
}

function listeners(context: ComponentContext<IdentityConfig>): ListenerDefinition[] {
  const { config, database, verifier, wakeUps } = context;
  const attempts = createAttempts(context);
  const issuers = realmConfigs(config).map(([name, realmConfig]) => {
    const realm = createRealm(context, attempts, name, realmConfig);
    return {
      name: name === 'main' ? 'issuer' : `issuer-${name}`,
      ...realmConfig.listen,
      url: realmConfig.url,
      options: { printError: createIssuerErrorPrinter(realm), bodyLimitBytes: 256 * 1024 },
      routes(app) {
        refuseNul(app);
        registerDiscovery(app, realm);
        registerToken(app, realm);
        registerTokenInspection(app, realm);
        registerAuthorize(app, realm);
        registerSignIn(app, realm);
        registerEndSession(app, realm);
        registerAccount(app, realm);
        registerDevice(app, realm);
        registerRegistration(app, realm);
        registerSuspension(app, realm);
        registerIssuerAudit(app, realm);
        registerSigningKeys(app, realm, context);
      },
    } satisfies ListenerDefinition;
  });
  const { alise } = config;
  if (alise === undefined) return issuers;
  return [
    ...issuers,
    {
      name: 'alise',
      ...alise.listen,
      url: alise.url,
      events: (principal) => [...principal.scopes].some((scope) => scope.startsWith('alise.mapping:')),
      options: {
        printError: printAliseError,
        printNotFound: printAliseNotFound,
        requestClientCertificate: alise.client_certificates,
      },
      routes(app) {
        const providers = createSiteProviders(alise, context.fetch);
        const lookUps = createSiteLookUps(database, attempts);
        const options = { database, wakeUps, verifier, url: alise.url, config: alise, lookUps };
        refuseNul(app);
        registerAliseV1(app, options);
        registerAliseV2(app, options);
        registerAliseAdministration(app, options);
        registerAliseApiKeys(app, options, { providers, developmentProfile: config.development_profile });
        registerMyLinks(app, options);
        registerLinking(app, { database, wakeUps, providers, config: alise, attempts });
      },
    },
  ];
}
