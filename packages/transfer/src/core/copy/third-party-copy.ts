import { describeError } from '@weft/kernel/errors';
import { TransferFailure } from '../failures.ts';
import { httpUrl } from '../surl.ts';
import { createMarkerReader } from './markers.ts';
import {
  authorization,
  connectionFailure,
  failureOf,
  type StorageAccess,
  type StorageFile,
} from './storage-requests.ts';

/** Which side does the work: at `pull` the destination fetches, at `push` the source sends (brief fts 3.4). */
export type CopyMode = 'pull' | 'push';

export interface CopyRequest {
  readonly mode: CopyMode;
  readonly source: StorageFile;
  readonly destination: StorageFile;
  readonly overwrite: boolean;
  readonly streams: number;
  readonly scitag: number | null;
  /** `job-id=…;file-id=…;retry=0`, for the logs of the storage. */
  readonly clientInfo: string;
  /** A copy that says nothing for so long is given up. */
  readonly silenceMilliseconds: number;
  readonly onProgress: (bytes: number) => void;
}

/** The copy may or may not have happened: look at the destination. */
export class VerdictLost extends TransferFailure {}

/** The storage does not do this kind of copy; the other kind may work. */
export class CopyNotOffered extends TransferFailure {}

const UNKNOWN_END = 'Connection terminated abruptly; status unknown';
const MOST_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Asks one storage to copy from or to the other, and follows its markers to the verdict.
 *
 * @throws {CopyNotOffered} 405 or 501; {VerdictLost} the connection ended first; {TransferFailure} it said why not.
 */
export async function thirdPartyCopy(access: StorageAccess, copy: CopyRequest): Promise<void> {
  const { mode } = copy;
  const silence = new Watch(copy.silenceMilliseconds);
  const signal = AbortSignal.any([access.signal, silence.signal]);
  try {
    const response = await sendCopy({ ...access, signal }, copy);
    if (response.status === 405 || response.status === 501) {
      const refusal = await failureOf('TRANSFER', `COPY (${mode})`, response);
      throw new CopyNotOffered('TRANSFER', 'ENOSYS', refusal.message);
    }
    if (!response.ok) throw await failureOf('TRANSFER', `COPY (${mode})`, response);
    silence.heard();
    // Only 201 and 202 announce a verdict in the body.
    if (response.status !== 201 && response.status !== 202) {
      await response.body?.cancel();
      return;
    }
    await followMarkers(response, copy, silence);
  } catch (error) {
    if (silence.signal.aborted && !access.signal.aborted) {
      throw new VerdictLost(
        'TRANSFER',
        'ETIMEDOUT',
        `No performance marker for ${Math.round(copy.silenceMilliseconds / 1000)} s`,
        { cause: error },
      );
    }
    const failure = connectionFailure('TRANSFER', error, signal);
    // The request may have arrived before the connection broke.
    if (
      failure instanceof TransferFailure &&
      failure.errno === 'ECONNRESET' &&
      !(failure instanceof VerdictLost)
    ) {
      throw new VerdictLost('TRANSFER', 'ECONNRESET', `COPY (${mode}): ${UNKNOWN_END}: ${failure.message}`);
    }
    throw failure;
  } finally {
    silence.stop();
  }
}

async function sendCopy(access: StorageAccess, copy: CopyRequest): Promise<Response> {
  const { mode, source, destination } = copy;
  const [active, passive] = mode === 'pull' ? [destination, source] : [source, destination];
  let url = new URL(httpUrl(active.surl));
  let credentials: Record<string, string> = {
    ...authorization(active.token),
    ...(passive.token === null ? {} : { TransferHeaderAuthorization: `Bearer ${passive.token.reveal()}` }),
  };
  const headers = {
    [mode === 'pull' ? 'Source' : 'Destination']: httpUrl(passive.surl),
    Credential: 'none',
    Overwrite: copy.overwrite ? 'T' : 'F',
    // Size and checksum are compared by us, at both ends: XRootD, for one, tells no checksum along with the content.
    RequireChecksumVerification: 'false',
    'X-Number-Of-Streams': String(copy.streams),
    'Secure-Redirection': '1',
    ClientInfo: copy.clientInfo,
    ...(copy.scitag === null ? {} : { SciTag: String(copy.scitag) }),
  };
  for (let hop = 0; ; hop++) {
    const response = await access.fetch(url, {
      method: 'COPY',
      headers: { ...headers, ...credentials },
      signal: access.signal,
      redirect: 'manual',
      timeoutMilliseconds: 0,
      maximumBytes: 0,
    });
    const location = response.headers.get('location');
    if (!REDIRECTS.has(response.status) || location === null) return response;
    await response.body?.cancel();
    if (hop === MOST_REDIRECTS)
      throw new TransferFailure('TRANSFER', 'ECOMM', `COPY (${mode}): too many redirects`);
    const next = new URL(location, url);
    // A door may send us to its pool, but nobody else gets these tokens.
    if (next.origin !== url.origin) credentials = {};
    url = next;
  }
}

async function followMarkers(response: Response, copy: CopyRequest, silence: Watch): Promise<void> {
  const reader = createMarkerReader();
  const digest = (lines: ReturnType<typeof reader.read>): boolean => {
    for (const line of lines) {
      if (line.kind === 'marker') copy.onProgress(line.bytes);
      else if (line.kind === 'success') return true;
      else
        throw new TransferFailure('TRANSFER', errnoOfVerdict(line.text), `COPY (${copy.mode}): ${line.text}`);
    }
    return false;
  };
  let lost = '';
  try {
    for await (const chunk of response.body ?? []) {
      silence.heard();
      if (digest(reader.read(chunk))) return;
    }
  } catch (error) {
    if (error instanceof TransferFailure) throw error;
    if (silence.signal.aborted) throw error;
    lost = `: ${describeError(error)}`;
  }
  if (digest(reader.end())) return;
  throw new VerdictLost('TRANSFER', 'ECONNRESET', `COPY (${copy.mode}): ${UNKNOWN_END}${lost}`);
}

/** A verdict comes inside a 201, so its words are all there is. */
function errnoOfVerdict(text: string) {
  if (/\b404\b|not found|no such file/i.test(text)) return 'ENOENT';
  if (/\b401\b|unauthorized/i.test(text)) return 'EACCES';
  if (/\b403\b|forbidden|permission denied/i.test(text)) return 'EPERM';
  if (/\b412\b|file exists|already exists/i.test(text)) return 'EEXIST';
  if (/\b507\b|no space|quota/i.test(text)) return 'ENOSPC';
  if (/timed? ?out/i.test(text)) return 'ETIMEDOUT';
  return 'ECOMM';
}

/** Aborts when nothing was heard for some time. */
class Watch {
  readonly #controller = new AbortController();
  readonly #milliseconds: number;
  #timer: NodeJS.Timeout;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
    this.#timer = this.#start();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #start(): NodeJS.Timeout {
    return setTimeout(() => this.#controller.abort(), this.#milliseconds);
  }
}
