import type { CloudEvent } from '../types.ts';

/** Headers and body of a request that carries an event (CloudEvents HTTP protocol binding 1.0.2). */
export interface CarriedEvent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The whole event is the body. */
export function structuredMode(event: CloudEvent): CarriedEvent {
  return {
    headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' },
    body: JSON.stringify({ datacontenttype: 'application/json', ...event }),
  };
}

/** The body is the data; the attributes are headers. */
export function binaryMode(event: CloudEvent): CarriedEvent {
  const { specversion, id, source, type, subject, time } = event;
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  for (const [name, value] of Object.entries({ specversion, id, source, type, subject, time })) {
    // An attribute that is empty must be left out (CloudEvents 1.0.2, 3.1).
    if (value !== '') headers[`ce-${name}`] = headerValue(value);
  }
  return { headers, body: JSON.stringify(event.data ?? null) };
}

/** Percent-encodes what may not stand in a header: controls, space, `"`, `%` and all beyond ASCII (section 3.1.3.2). */
function headerValue(value: string): string {
  // A lone surrogate has no UTF-8.
  return value
    .toWellFormed()
    .replace(/[^\x21\x23\x24\x26-\x7e]/gu, (character) =>
      [...Buffer.from(character)]
        .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
        .join(''),
    );
}
