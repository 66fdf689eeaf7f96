import { createHmac } from 'node:crypto';
import type { Secret } from '../../config/index.ts';
import { WeftError } from '../../errors/index.ts';
import type { GuardedFetch } from '../../http/index.ts';
import { GiveUp, RetryLater } from '../../work/index.ts';
import type { CloudEvent } from '../types.ts';
import { binaryMode, structuredMode } from './cloud-event-http.ts';
import type { Destination } from './destination.ts';
import { secretBytes, type Webhook } from './subscription.ts';

const TIMEOUT_MILLISECONDS = 20_000;
const LONGEST_RETRY_AFTER_SECONDS = 3_600;

/**
 * Sends events by POST, signed as Standard Webhooks 1.0 say: `webhook-id` stays the same over all attempts, so that a
 * receiver can drop what it has already; `webhook-timestamp` is the attempt's; redirects are failures.
 */
export function createWebhook(webhook: Webhook, fetch: GuardedFetch): Destination {
  const carry = webhook.mode === 'binary' ? binaryMode : structuredMode;
  const secrets = [webhook.secret, ...(webhook.previous_secret ? [webhook.previous_secret] : [])];
  return {
    async send(event, signal) {
      const { headers, body } = carry(event);
      const response = await fetch(webhook.url, {
        method: 'POST',
        headers: { ...headers, ...signatureHeaders(secrets, webhookId(event), new Date(), body) },
        body,
        signal,
        redirect: 'manual',
        timeoutMilliseconds: TIMEOUT_MILLISECONDS,
      });
      await response.body?.cancel();
      if (response.ok) return;
      const said = `${new URL(webhook.url).origin} answers ${response.status}`;
      if (response.status === 410) throw new GiveUp(`${said}: it wants no events any more`);
      const seconds = retryAfterSeconds(response.headers.get('retry-after'));
      if (seconds !== undefined) throw new RetryLater(seconds, said);
      throw new WeftError('upstream', 'webhook-refused', said);
    },
    close: async () => undefined,
  };
}

/** `datalake-4711` for event 4711 of `/datalake`: unique over all components. */
export function webhookId(event: CloudEvent): string {
  return `${event.source.slice(1)}-${event.id}`;
}

/** @example signatureHeaders([secret], 'datalake-1', at, '{}')['webhook-signature'] // 'v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=' */
export function signatureHeaders(
  secrets: readonly Secret[],
  id: string,
  at: Date,
  body: string,
): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1_000));
  const signatures = secrets.map((secret) => {
    const key = secretBytes(secret.reveal()) ?? '';
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  };
}

/** `Retry-After` as seconds or as a date (RFC 9110, 10.2.3). */
function retryAfterSeconds(value: string | null): number | undefined {
  if (value === null) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1_000;
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 1), LONGEST_RETRY_AFTER_SECONDS);
}
