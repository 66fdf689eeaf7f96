/** The kinds of failure that `core/` raises and that each component's `api/` prints in its own dialect. */
export type ErrorKind =
  | 'invalid' // the caller's input breaks a rule: 400
  | 'unauthenticated' // no, or no valid, credential: 401
  | 'forbidden' // a valid credential without the right: 403
  | 'not-found' // 404
  | 'conflict' // the state of the world forbids it: 409
  | 'gone' // 410
  | 'too-large' // 413
  | 'precondition' // a condition the caller set does not hold: 412
  | 'unsupported' // understood, but not offered: 415 or 501 by dialect
  | 'exhausted' // quota, disk or rate: 429 or 507 by dialect
  | 'unavailable' // a dependency is down, try again: 503
  | 'upstream'; // another component answered with something unusable: 502

/** HTTP status that a kind has where the dialect says nothing else. */
export const STATUS_OF_KIND: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  gone: 410,
  'too-large': 413,
  precondition: 412,
  unsupported: 501,
  exhausted: 429,
  unavailable: 503,
  upstream: 502,
};

export interface WeftErrorOptions {
  cause?: unknown;
  /** Facts for the dialect's body or the log; never secrets. */
  details?: Readonly<Record<string, unknown>>;
}

/**
 * A failure with a kind (decides the status), a stable `code` (for programs) and a message (for people: the cause, and
 * the mend where there is one).
 *
 * @example throw new WeftError('not-found', 'DataIdentifierNotFound', 'Data identifier drought:x not found.')
 */
export class WeftError extends Error {
  override readonly name = 'WeftError';
  readonly kind: ErrorKind;
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(kind: ErrorKind, code: string, message: string, options: WeftErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.code = code;
    this.details = options.details ?? {};
  }

  get status(): number {
    return STATUS_OF_KIND[this.kind];
  }
}

/** The message of anything that was thrown, with its causes: `copy failed: connect ECONNREFUSED 127.0.0.1:8081`. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own =
    error instanceof AggregateError && error.message === ''
      ? error.errors.map(describeError).join('; ')
      : error.message;
  if (error.cause === undefined) return own;
  const cause = describeError(error.cause);
  return own.includes(cause) ? own : `${own}: ${cause}`;
}

/** An error that ends a command: one message for the person, a distinct exit code for the script (sysexits.h). */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = exitCode;
  }
}
