import { createHash, timingSafeEqual } from 'node:crypto';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyReply } from 'fastify';

export function readCookies(header: string | undefined): Map<string, string> {
  const cookies = new Map<string, string>();
  for (const pair of (header ?? '').split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0) cookies.set(pair.slice(0, equals).trim(), pair.slice(equals + 1).trim());
  }
  return cookies;
}

/** Session cookies; `maxAge` 0 removes one. */
export function setCookie(reply: FastifyReply, name: string, value: string, maxAge?: number): void {
  const end = maxAge === undefined ? '' : `; Max-Age=${maxAge}`;
  const cookie = `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax${end}`;
  const others = [reply.getHeader('set-cookie') ?? []]
    .flat()
    .map(String)
    .filter((each) => !each.startsWith(`${name}=`));
  reply.removeHeader('set-cookie');
  reply.header('set-cookie', [...others, cookie]);
}

/** What stands in every form as `csrf`: proof that the form came from a page that this browser got from us. */
export function formTokenOf(browser: string): string {
  return createHash('sha256').update(`form ${browser}`).digest('base64url');
}

/** @throws {WeftError} `forbidden`, code `stale-form` */
export function requireFormToken(browser: string | undefined, form: URLSearchParams): void {
  const expected = browser === undefined ? undefined : Buffer.from(formTokenOf(browser));
  const given = Buffer.from(form.get('csrf') ?? '');
  if (expected === undefined || given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new WeftError(
      'forbidden',
      'stale-form',
      'This page is too old, or it was not ours. Go back and try again.',
    );
  }
}
