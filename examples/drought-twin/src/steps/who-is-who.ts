import { claimsOf } from '../instance.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../tour.ts';

/** Users get tokens from the issuer, each for one audience and with no more scopes than asked for. */
export async function whoIsWho({ instance }: Scene, step: Step): Promise<void> {
  const { endpoints } = instance;
  await instance.requireComponent('identity', endpoints.issuer);
  const observatory = instance.site('observatory');
  for (const [user, audience, scope] of [
    ['alice', endpoints.orchestrator, 'openid profile offline_access'],
    ['obs-bot', observatory.storage, 'storage.read:/ storage.create:/rucio/drought'],
  ] as const) {
    const claims = claimsOf(await instance.tokens(user, audience, scope)());
    step.check(
      `${user} has a token for ${audience} alone`,
      claims.iss === endpoints.issuer &&
        [claims.aud].flat().join() === audience &&
        sameWords(claims.scope, scope),
      `from ${claims.iss}, scopes ${claims.scope}`,
    );
  }
}

function sameWords(one: string, other: string): boolean {
  return one.split(' ').sort().join(' ') === other.split(' ').sort().join(' ');
}
