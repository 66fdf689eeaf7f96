import type { DaemonDefinition } from '@weft/kernel/component';
import { GiveUp, startWorker } from '@weft/kernel/work';
import type { IdentityConfig } from '../config.ts';
import { logoutNotices, sendLogoutNotice } from '../core/logout-notices.ts';
import { realmConfigs } from '../core/realm.ts';
import { createSigningKeys } from '../core/signing-keys.ts';

/** Tells applications that somebody has signed out; one that does not answer is tried again for some hours. */
export const sendLogoutNotices: DaemonDefinition<IdentityConfig> = {
  name: 'send-logout-notices',
  start(context) {
    const { config, database, wakeUps, log, fetch } = context;
    const issuers = new Map(
      realmConfigs(config).map(([realm, { url }]) => [
        realm,
        { database, fetch, issuer: url, keys: createSigningKeys({ ...context, realm }) },
      ]),
    );
    return startWorker(logoutNotices, { database, wakeUps, log, concurrency: 4 }, async ({ payload }) => {
      const issuer = issuers.get(payload.realm);
      if (issuer === undefined) throw new GiveUp(`The realm ${payload.realm} is not configured any more.`);
      await sendLogoutNotice(issuer, payload);
    });
  },
};
