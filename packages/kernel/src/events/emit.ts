import { type RawBuilder, sql } from 'kysely';
import type { ComponentName } from '../component/component-name.ts';
import type { Emit, NewEvent } from './types.ts';

/** Marks the advisory locks of transactions that have events under way; the low 48 bits hold an outbox id. */
export const EMITTING_LOCK_CLASS = 0x5745;

/** JSON never has it as it is, so that texts can be joined by it, where each in an array would be escaped once more. */
const SEPARATOR = '\x1e';

/** The wake-up channel of a component's event streams. */
export function eventChannel(component: string): string {
  return `events:${component}`;
}

/**
 * Puts events into the outbox within the transaction of the change, and wakes the streams when it has committed.
 *
 * @example await emit(tx, wakeUps, 'datalake', [{ type: 'rule.ok', subject: ruleId, data: printRule(rule) }]);
 */
export const emit: Emit = async (tx, wakeUps, component, events) => {
  if (events.length === 0) return;
  await emission(component, events).execute(tx);
  wakeUps.wake(tx, eventChannel(component));
};

/**
 * The statement by which `emit` does so, for a change that is one statement with its events: data-modifying `with` clauses
 * stand before it, `wakeUps.wakeNow(eventChannel(component))` follows. Its text is the same for any number of events.
 */
export function emission(component: ComponentName, events: readonly NewEvent[]): RawBuilder<unknown> {
  // The lock says "ids above this one may be missing yet" to readers; it must be held before an id is drawn, which it
  // is: the join has no row to number before the lock has been taken. See read-outbox.ts for the other half.
  return sql`
    insert into kernel.outbox (component, type, subject, data)
    with emitting as materialized (
      select pg_advisory_xact_lock_shared(
        ${EMITTING_LOCK_CLASS}::bigint << 48 | case when is_called then last_value else 0 end)
      from kernel.outbox_id_seq
    )
    select ${component}, type, subject, data
    from emitting, unnest(
      ${events.map(({ type }) => type)}::text[],
      ${events.map(({ subject }) => subject)}::text[],
      string_to_array(${events.map(({ data }) => JSON.stringify(data ?? null)).join(SEPARATOR)}, ${SEPARATOR})::jsonb[]
    ) with ordinality as event (type, subject, data, position)
    order by position`;
}
