import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import type { RemoteFile } from '../core/third-party-copy/remote-file.ts';
import { header } from './exchange.ts';

/** What a request for a third-party copy asks for, besides the two files. */
export interface CopyRequest {
  readonly overwrite: boolean;
  /** Nothing when the request leaves it to us. */
  readonly requireChecksum: boolean | undefined;
  readonly streams: number;
}

const MAXIMUM_STREAMS = 100;

/** Names that the other side's server must hear from its own client only. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-connection',
]);

/** @throws {WeftError} `invalid`, with the header's name as its code. */
export function readCopyRequest(request: IncomingMessage): CopyRequest {
  const credential = header(request, 'credential')?.toLowerCase();
  if (credential !== undefined && credential !== 'none') {
    throw new WeftError(
      'invalid',
      'credential',
      `Credential: ${credential.slice(0, 40)} is not offered; send a TransferHeaderAuthorization.`,
    );
  }
  const verification = header(request, 'requirechecksumverification')?.toLowerCase();
  if (verification !== undefined && verification !== 'true' && verification !== 'false') {
    throw new WeftError(
      'invalid',
      'require-checksum-verification',
      'RequireChecksumVerification must be true or false.',
    );
  }
  const streams = header(request, 'x-number-of-streams') ?? '0';
  if (!/^\d{1,3}$/.test(streams) || Number(streams) > MAXIMUM_STREAMS) {
    throw new WeftError(
      'invalid',
      'streams',
      `X-Number-Of-Streams must be a number up to ${MAXIMUM_STREAMS}.`,
    );
  }
  return {
    overwrite: overwrites(request),
    requireChecksum: verification === undefined ? undefined : verification === 'true',
    streams: Number(streams),
  };
}

/**
 * `TransferHeaderX: v` and XRootD's `Copy-Header: X: v`, with the case that the client gave the names.
 * @throws {WeftError} `invalid`, code `transfer-header`: what could not stand in a header line.
 */
export function readRemote(request: IncomingMessage, url: URL): RemoteFile {
  const headers: Record<string, string> = {};
  const add = (name: string, value: string) => {
    if (name === '' || NOT_FORWARDED.has(name.toLowerCase())) return;
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw new WeftError('invalid', 'transfer-header', 'A TransferHeader has no usable name or value.');
    }
    headers[name] = value.trim();
  };
  const { rawHeaders } = request;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    if (/^transferheader/i.test(name)) add(name.slice('transferheader'.length), value);
    if (/^copy-header$/i.test(name)) {
      const colon = value.indexOf(':');
      if (colon > 0) add(value.slice(0, colon).trim(), value.slice(colon + 1));
    }
  }
  return { url, headers };
}

/** `Overwrite` is T unless it says F (RFC 4918 section 10.6). @throws {WeftError} `invalid` for anything else. */
export function overwrites(request: IncomingMessage): boolean {
  const text = header(request, 'overwrite')?.toUpperCase() ?? 'T';
  if (text !== 'T' && text !== 'F')
    throw new WeftError('invalid', 'invalid-overwrite', 'Overwrite must be T or F.');
  return text === 'T';
}
