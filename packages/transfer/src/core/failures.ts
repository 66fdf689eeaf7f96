import { redactQuery } from './surl.ts';

/** Whose fault: the word with which every reason begins (brief fts 3.2). */
export type FailureScope = 'SOURCE' | 'DESTINATION' | 'TRANSFER' | 'GENERAL_FAILURE';

/** Linux error numbers; clients and operators of this protocol know them. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENOSPC: 28,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ECOMM: 70,
  EBADMSG: 74,
  EPROTONOSUPPORT: 93,
  ENOTSUP: 95,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
  ECANCELED: 125,
} as const;
export type ErrnoName = keyof typeof ERRNO;

const LONGEST_REASON = 2048;

/** A transfer that did not end well, with the guilty side, an error number and the server's own words. */
export class TransferFailure extends Error {
  override readonly name = 'TransferFailure';
  readonly scope: FailureScope;
  readonly errno: ErrnoName;

  constructor(scope: FailureScope, errno: ErrnoName, text: string, options?: { cause?: unknown }) {
    super(text, options);
    this.scope = scope;
    this.errno = errno;
  }

  /** `DESTINATION [17] Destination file exists and overwrite is not enabled` */
  get reason(): string {
    return `${this.scope} [${ERRNO[this.errno]}] ${cleanText(this.message)}`.slice(0, LONGEST_REASON);
  }

  get recoverable(): boolean {
    return isRecoverable(this.scope, this.errno, this.message);
  }
}

/** One line, without control characters, NULs or what stands behind a question mark of a URL. */
export function cleanText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: servers send them
  return redactQuery(text.replace(/[\u0000-\u001f\u007f]+/g, ' ').trim());
}

const TEXTS_WORTH_ANOTHER_TRY =
  /performance marker|name or service not known|connection timed out|end-of-file was reached|end of file occurred|srm_internal_error|was forcefully killed|operation timeout/i;
const TEXTS_WITHOUT_HOPE =
  /proxy expired|file not found|file exists and overwrite|no such file or directory|certificate has expired|crl has expired|permission denied|file exists|checksum mismatch|checksums? do not match|source file is not online/i;

const HOPELESS: Readonly<Record<FailureScope, ReadonlySet<ErrnoName>>> = {
  SOURCE: new Set(['ENOENT', 'EPERM', 'EACCES', 'ENAMETOOLONG', 'EPROTONOSUPPORT', 'EINVAL']),
  DESTINATION: new Set(['EPERM', 'EACCES', 'ENAMETOOLONG', 'EPROTONOSUPPORT', 'EEXIST', 'EINVAL']),
  TRANSFER: new Set(['ENOSPC', 'EPERM', 'EACCES', 'EEXIST', 'ENAMETOOLONG', 'EPROTONOSUPPORT']),
  GENERAL_FAILURE: new Set(),
};

/** Whether another attempt can help, in the order of brief fts 3.2. */
export function isRecoverable(scope: FailureScope, errno: ErrnoName, text: string): boolean {
  if (errno === 'ECANCELED') return false;
  if (errno === 'ETIMEDOUT' || TEXTS_WORTH_ANOTHER_TRY.test(text)) return true;
  if (TEXTS_WITHOUT_HOPE.test(text)) return false;
  return !HOPELESS[scope].has(errno);
}

/** What an HTTP status of a storage means (brief fts 3.4). */
export function errnoOfStatus(status: number): ErrnoName {
  switch (status) {
    case 401:
      return 'EACCES';
    case 403:
      return 'EPERM';
    case 404:
    case 409:
    case 410:
      return 'ENOENT';
    case 412:
      return 'EEXIST';
    case 405:
    case 501:
      return 'ENOSYS';
    case 408:
    case 504:
      return 'ETIMEDOUT';
    case 414:
      return 'ENAMETOOLONG';
    case 423:
      return 'EBUSY';
    case 507:
      return 'ENOSPC';
    default:
      return status >= 500 ? 'EHOSTDOWN' : 'EINVAL';
  }
}
