import type { Instance } from './instance.ts';
import type { Component, Step } from './tour.ts';

/** Checks that a component refuses a good token that was made for another one. */
export async function checkForeignTokenRefused(
  step: Step,
  instance: Instance,
  component: Component,
  url: string,
  options: { method?: string; header?: 'authorization' | 'x-rucio-auth-token' } = {},
): Promise<void> {
  const foreign = await instance.tokens('alice', instance.endpoints.identity)();
  const header = options.header ?? 'authorization';
  const response = await fetch(url, {
    method: options.method ?? 'GET',
    headers: { [header]: header === 'authorization' ? `Bearer ${foreign}` : foreign },
    signal: AbortSignal.timeout(30_000),
  });
  await response.body?.cancel();
  step.equal('a token for another audience is refused', response.status, 401, component);
}
