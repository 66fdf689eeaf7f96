import type { ComponentName } from '@weft/kernel/component';
import type { Database, WakeUps } from '@weft/kernel/database';
import { registerEventRoutes } from '@weft/kernel/events';
import { testPrincipal } from '@weft/kernel/testing';
import type { FastifyInstance } from 'fastify';

const ANYBODY = testPrincipal({ kind: 'service', subject: 'orchestrator', clientId: 'orchestrator' });

/** The database whose outbox a fake tells about. */
export interface EventSource {
  readonly database: Database;
  readonly wakeUps: WakeUps;
}

/** Gives a fake the event stream that components of ours have; without a source it has none, as an original. */
export function tellEvents(
  app: FastifyInstance,
  component: ComponentName,
  source: EventSource | undefined,
): void {
  if (source === undefined) return;
  registerEventRoutes(app, { ...source, component, visible: () => true, authenticate: async () => ANYBODY });
}
