import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import type { Caller } from '../core/caller.ts';
import type { Account } from '../core/local-users/accounts.ts';
import { bytesOf } from './metering.ts';

interface Known {
  readonly caller: Caller;
  readonly account: Pick<Account, 'name' | 'uid'> | undefined;
}

const known = new WeakMap<IncomingMessage, Known>();

/** Remembers for the line about a request who sent it, and as whom it was carried out. */
export function noteCaller(request: IncomingMessage, caller: Caller, account?: Known['account']): void {
  known.set(request, { caller, account });
}

/**
 * What the line about a request says besides method, path and status, so that every change can be put down to somebody
 * (brief teapot 7): who, with which token, as which local account, from where, how much.
 */
export function accessFields(request: FastifyRequest): Record<string, unknown> {
  const { caller, account } = known.get(request.raw) ?? {};
  return {
    from: request.ip,
    ...bytesOf(request.raw),
    ...(caller && !caller.anonymous
      ? { issuer: caller.issuer, subject: caller.subject, token: caller.jti }
      : {}),
    ...(account ? { account: account.name, uid: account.uid } : {}),
  };
}
