import type { Revocations } from '@weft/kernel/auth';
import type { ComponentContext } from '@weft/kernel/component';
import type { StorageConfig } from '../../config.ts';
import { createMacaroonGrants, type MacaroonGrants } from './macaroon-grants.ts';
import { createMacaroonKeys } from './macaroon-keys.ts';
import { createMacaroons, type Macaroons } from './macaroons.ts';

const DAY_SECONDS = 86_400;

/** The macaroons of an instance: none are made or taken when the configuration says so. */
export function openMacaroons(
  { config, database, secrets }: ComponentContext<StorageConfig>,
  revocations: Revocations,
): {
  macaroons: Macaroons | undefined;
  grants: MacaroonGrants;
} {
  const grants = createMacaroonGrants(database, config.site);
  const { enabled, maximum_lifetime_seconds, key_rotation_days } = config.macaroons;
  if (!enabled) return { macaroons: undefined, grants };
  const keys = createMacaroonKeys(database, secrets, config.site, {
    rotationSeconds: key_rotation_days * DAY_SECONDS,
    lifetimeSeconds: maximum_lifetime_seconds,
  });
  return {
    grants,
    macaroons: createMacaroons({
      keys,
      grants,
      revocations,
      location: config.url,
      maximumLifetimeSeconds: maximum_lifetime_seconds,
    }),
  };
}
