import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '@weft/kernel/errors';
import { createEventParser } from '@weft/kernel/events';
import type { GuardedFetch } from '@weft/kernel/http';
import type { Logger } from '@weft/kernel/telemetry';
import { z } from 'zod';

export interface FollowLinksOptions {
  /** Of the account-linking service. */
  readonly url: string;
  /** What the site is called there. */
  readonly site: string;
  readonly credential: { readonly token: () => Promise<string> } | { readonly apiKey: string };
  readonly fetch: GuardedFetch;
  readonly log: Logger;
  /** An identity has been linked, unlinked, suspended or resumed. */
  readonly onChange: (issuer: string, subject: string, at: Date) => void;
}

const changeSchema = z.object({ iss: z.string(), sub: z.string(), at: z.iso.datetime() });

/** Pings come every 5 s. */
const SILENCE_MILLISECONDS = 20_000;
const FIRST_PAUSE_MILLISECONDS = 250;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** An original ALISE has no feed: cached answers live for their time there. */
const NO_FEED_MILLISECONDS = 5 * 60_000;

class NoFeed extends Error {}

/**
 * Hears from the account-linking service at once when a link changes (API v2, brief alise-aai 2.4), so that whoever is
 * unlinked or suspended there is not served for as long as an answer is remembered here. After a break it goes on where it
 * was; what is remembered is this process's own, and so is the place in the feed.
 */
export function followLinks(options: FollowLinksOptions): { close(): Promise<void> } {
  const { url, site, credential, log } = options;
  const stopping = new AbortController();
  let cursor = '0';
  const running = run();

  async function run(): Promise<void> {
    for (let failures = 0; !stopping.signal.aborted; ) {
      let pause = FIRST_PAUSE_MILLISECONDS;
      try {
        await follow(() => {
          failures = 0;
        });
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (error instanceof NoFeed) {
          pause = NO_FEED_MILLISECONDS;
          log.debug({ url }, 'the account-linking service tells no changes');
        } else {
          failures += 1;
          pause = Math.min(
            FIRST_PAUSE_MILLISECONDS * 2 ** Math.min(failures, 20),
            LONGEST_PAUSE_MILLISECONDS,
          );
          log.warn({ url, error: describeError(error), failures }, 'changes of links are not heard now');
        }
      }
      await sleep(pause * (0.5 + Math.random() / 2), undefined, { signal: stopping.signal }).catch(
        () => undefined,
      );
    }
  }

  /** One connection, to its end. */
  async function follow(onProgress: () => void): Promise<void> {
    const silent = new AbortController();
    const hush = () => silent.abort(new Error(`silent for ${SILENCE_MILLISECONDS / 1000} s`));
    let silence = setTimeout(hush, SILENCE_MILLISECONDS);
    try {
      const key = 'apiKey' in credential ? credential.apiKey : await credential.token();
      const response = await options.fetch(
        `${url}/api/v2/sites/${encodeURIComponent(site)}/changes?after=${cursor}`,
        {
          headers: { accept: 'text/event-stream', authorization: `Bearer ${key}` },
          signal: AbortSignal.any([silent.signal, stopping.signal]),
          timeoutMilliseconds: 0,
          maximumBytes: 0,
        },
      );
      const stream = (response.headers.get('content-type') ?? '').startsWith('text/event-stream');
      if (!response.ok || !stream) {
        await response.body?.cancel();
        if (response.ok || response.status === 404) throw new NoFeed();
        throw new Error(`${url} answered ${response.status}`);
      }
      const parse = createEventParser();
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) {
        clearTimeout(silence);
        silence = setTimeout(hush, SILENCE_MILLISECONDS);
        onProgress();
        for (const frame of parse(decoder.decode(chunk, { stream: true }))) {
          if (frame.event !== 'link') continue;
          const { iss, sub, at } = changeSchema.parse(JSON.parse(frame.data));
          options.onChange(iss, sub, new Date(at));
          cursor = frame.id ?? cursor;
        }
      }
    } finally {
      clearTimeout(silence);
    }
  }

  return {
    async close() {
      stopping.abort(new Error('the follower is stopping'));
      await running;
    },
  };
}
