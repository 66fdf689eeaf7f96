import { type Principal, satisfiesEntitlements } from '@weft/kernel/auth';
import type { ProviderConfig, SiteConfig } from '../../config.ts';
import { textsOf } from './person-claims.ts';

/** The provider of the site, its own or a community's, that a token comes from. */
export function providerOf(
  { internal, external }: SiteConfig,
  { issuer }: Pick<Principal, 'issuer'>,
): ProviderConfig | undefined {
  return [...internal, ...external].find((provider) => provider.issuer === issuer);
}

/**
 * Whether somebody may make API keys of a site by `get_apikey` (brief alise-aai 2.1, "the site's admin rule"): the holders
 * of one of the provider's `admin_entitlements`. Without that setting nobody, but in the development profile everybody
 * whom one of the site's providers vouches for, as in the original.
 *
 * @param userInfo asked only when the token itself does not tell
 */
export async function mayMakeKeys(
  provider: ProviderConfig,
  principal: Principal,
  developmentProfile: boolean,
  userInfo: () => Promise<Readonly<Record<string, unknown>>>,
): Promise<boolean> {
  const { admin_entitlements: needed, admin_entitlement_claim: claim } = provider;
  if (needed.length === 0) return developmentProfile;
  if (satisfiesEntitlements([...principal.groups, ...principal.entitlements], needed)) return true;
  const info = await userInfo();
  const held = [claim, 'groups', 'entitlements', 'eduperson_entitlement'].flatMap((name) =>
    textsOf(info[name]),
  );
  return satisfiesEntitlements(held, needed);
}
