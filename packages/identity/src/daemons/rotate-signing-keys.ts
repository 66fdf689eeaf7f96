import type { DaemonDefinition } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import type { IdentityConfig } from '../config.ts';
import { realmConfigs } from '../core/realm.ts';
import { rotateKeys } from '../core/rotate-keys.ts';

/** Publishes, activates, retires and removes signing keys when they are old enough. */
export const rotateSigningKeys: DaemonDefinition<IdentityConfig> = {
  name: 'rotate-signing-keys',
  start: (context) =>
    startLoop(
      { ...context, name: 'identity.rotate-signing-keys', everySeconds: 3600, leaderOnly: true },
      async () => {
        for (const [realm] of realmConfigs(context.config)) {
          if (await rotateKeys(context, realm)) context.log.info({ realm }, 'signing keys moved on');
        }
        return 'idle';
      },
    ),
};
