import type { Secret } from '@weft/kernel/config';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { GuardedFetch } from '@weft/kernel/http';
import { cleanText, type ErrnoName, errnoOfStatus, type FailureScope, TransferFailure } from '../failures.ts';
import { httpUrl } from '../surl.ts';
import { digestOf } from './checksums.ts';

/** One file at one storage, with the token for it. */
export interface StorageFile {
  readonly scope: 'SOURCE' | 'DESTINATION';
  readonly surl: string;
  readonly token: Secret | null;
}

/** How to speak to storages. */
export interface StorageAccess {
  readonly fetch: GuardedFetch;
  readonly signal: AbortSignal;
  readonly requestTimeoutMilliseconds: number;
}

export interface FileFacts {
  /** Null when the storage does not say. */
  readonly sizeBytes: number | null;
  /** In the algorithm that was asked for; undefined when the storage does not give it. */
  readonly checksum: string | undefined;
  /** Changes whenever the content does, as far as the storage tells: entity tag and time of change. */
  readonly version: string;
}

/** Size and, when `algorithm` is given, checksum of a file; undefined when there is none. */
export async function stat(
  access: StorageAccess,
  file: StorageFile,
  algorithm: string | undefined,
): Promise<FileFacts | undefined> {
  const response = await request(
    access,
    file,
    'HEAD',
    algorithm === undefined ? {} : { 'Want-Digest': algorithm },
  );
  await discard(response);
  if (response.status === 404 || response.status === 410) return undefined;
  if (!response.ok) throw await failureOf(file.scope, `${file.scope} HEAD`, response);
  const length = response.headers.get('content-length');
  return {
    sizeBytes: length === null || !/^\d+$/.test(length) ? null : Number(length),
    checksum: algorithm === undefined ? undefined : digestOf(response.headers.get('digest'), algorithm),
    version: `${response.headers.get('etag') ?? ''} ${response.headers.get('last-modified') ?? ''}`,
  };
}

/** Removes a file; one that is not there is fine. */
export async function remove(access: StorageAccess, file: StorageFile): Promise<void> {
  const response = await request(access, file, 'DELETE', {});
  if (!response.ok && response.status !== 404 && response.status !== 410)
    throw await failureOf(file.scope, 'DELETE', response);
  await discard(response);
}

/**
 * Makes the collections above a file, from the first missing one down. Refusals are not told: whether the parent is
 * there shows when the copy is tried again.
 */
export async function makeParents(access: StorageAccess, file: StorageFile): Promise<void> {
  const missing: string[] = [];
  for (let surl = parentOf(file.surl); surl !== undefined; surl = parentOf(surl)) {
    missing.unshift(surl);
    const status = await makeCollection(access, { ...file, surl });
    // 409: its own parent is missing. Anything else will not get better further up.
    if (status !== 409 && status !== 404) break;
  }
  for (const surl of missing.slice(1)) await makeCollection(access, { ...file, surl });
}

async function makeCollection(access: StorageAccess, file: StorageFile): Promise<number> {
  const response = await request(access, file, 'MKCOL', {});
  await discard(response);
  return response.status;
}

/** `davs://host/a/b/c` → `davs://host/a/b/`; undefined above the root. The query, if any, stays behind. */
export function parentOf(surl: string): string | undefined {
  const parts = /^([a-z][a-z0-9+.-]*:\/\/[^/]+)(\/.*)$/i.exec(surl.replace(/[?#].*$/, ''));
  const path = parts?.[2]?.replace(/\/+$/, '') ?? '';
  const parent = path.slice(0, path.lastIndexOf('/') + 1).replace(/\/+$/, '/');
  return parent === '' || parent === '/' ? undefined : `${parts?.[1]}${parent}`;
}

export function authorization(token: Secret | null): Record<string, string> {
  return token === null ? {} : { Authorization: `Bearer ${token.reveal()}` };
}

async function request(
  access: StorageAccess,
  file: StorageFile,
  method: string,
  headers: Record<string, string>,
): Promise<Response> {
  try {
    return await access.fetch(httpUrl(file.surl), {
      method,
      headers: { ...authorization(file.token), ...headers },
      signal: access.signal,
      timeoutMilliseconds: access.requestTimeoutMilliseconds,
    });
  } catch (error) {
    throw connectionFailure(file.scope, error, access.signal);
  }
}

/** Reads away a body that nobody needs, so that the connection can be used again. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel();
}

const LONGEST_SERVER_TEXT = 600;

/** A refusal in the storage's own words: `DESTINATION [1] COPY HTTP 403 Forbidden: no storage.create for /x`. */
export async function failureOf(
  scope: FailureScope,
  what: string,
  response: Response,
): Promise<TransferFailure> {
  let text = '';
  try {
    text = response.bodyUsed
      ? ''
      : cleanText((await response.text()).slice(0, 8192).replace(/<[^>]*>/g, ' '));
  } catch (error) {
    // The status says enough; a body that cannot be read adds only why.
    text = describeError(error);
  }
  const phrase = `${what} HTTP ${response.status} ${response.statusText}`.trim();
  const shown = text.replace(/\s+/g, ' ').trim().slice(0, LONGEST_SERVER_TEXT);
  return new TransferFailure(
    scope,
    errnoOfStatus(response.status),
    shown === '' ? phrase : `${phrase}: ${shown}`,
  );
}

/** What a request that got no answer means. */
export function connectionFailure(scope: FailureScope, error: unknown, signal: AbortSignal): Error {
  if (error instanceof TransferFailure) return error;
  if (signal.aborted && signal.reason instanceof Error) return signal.reason;
  const text = describeError(error);
  if (error instanceof WeftError && error.kind === 'forbidden')
    return new TransferFailure(scope, 'EPERM', text);
  return new TransferFailure(scope, errnoOfConnection(error), text, { cause: error });
}

function errnoOfConnection(error: unknown): ErrnoName {
  for (let current = error; current instanceof Error; current = current.cause) {
    const code = 'code' in current && typeof current.code === 'string' ? current.code : '';
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
      return 'EHOSTUNREACH';
    if (code === 'ECONNREFUSED') return 'EHOSTDOWN';
    if (/TIMEOUT|ETIMEDOUT/.test(code) || current.name === 'TimeoutError') return 'ETIMEDOUT';
    if (/CERT|SELF_SIGNED|ERR_TLS|ERR_SSL/.test(code)) return 'EACCES';
    if (code === 'ECONNRESET' || code === 'UND_ERR_SOCKET' || code === 'EPIPE') return 'ECONNRESET';
  }
  return 'ECOMM';
}
