import { readConfiguredFile } from '../config/index.ts';
import { startDelivery } from '../events/index.ts';
import type { Daemon } from './daemon.ts';
import type { ProcessBase } from './process-base.ts';

/** Delivers the events of these components to the receivers that the configuration names. */
export function startDeliveries(base: ProcessBase, components: readonly string[]): Daemon[] {
  const { settings, database, wakeUps, fetch, log } = base;
  const subscriptions = settings.event_subscriptions.filter(({ component }) =>
    components.includes(component),
  );
  if (subscriptions.length === 0) return [];
  const certificateAuthorities = settings.outgoing.certificate_authorities.map((file) =>
    readConfiguredFile('outgoing.certificate_authorities', file).toString('utf8'),
  );
  return subscriptions.map((subscription) =>
    startDelivery(subscription, { database, wakeUps, log, fetch, certificateAuthorities }),
  );
}
