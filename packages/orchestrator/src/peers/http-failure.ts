import { describeError, type ErrorKind, WeftError } from '@weft/kernel/errors';

const KIND_OF_STATUS: Readonly<Record<number, ErrorKind>> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  409: 'conflict',
  413: 'too-large',
  422: 'invalid',
  429: 'unavailable',
};

/** What another side's answer means to us: a refusal keeps its kind, a failure of theirs is worth another try. */
export function failureOf(peer: string, status: number, code: string, message: string): WeftError {
  return new WeftError(
    KIND_OF_STATUS[status] ?? (status >= 500 ? 'unavailable' : 'upstream'),
    code,
    `${peer}: ${message}`,
  );
}

/** For what was thrown before there was an answer. */
export function unreachable(peer: string, error: unknown): WeftError {
  if (error instanceof WeftError && error.kind !== 'unavailable') return error;
  return new WeftError('unavailable', 'peer-unreachable', `${peer}: ${describeError(error)}`, {
    cause: error,
  });
}
