import { WeftError } from '@weft/kernel/errors';
import { type Issuer, identifyIssuer } from '../core/accounts/issuer.ts';
import { loginWithPassword } from '../core/accounts/login.ts';
import { printDate } from '../core/records/print.ts';
import { done, json, text } from './answers.ts';
import { headerOf, publicRoute } from './router.ts';

/** Brief rucio-api 2.1. */
export const authRoutes = [
  publicRoute('GET', '/auth/userpass', async ({ lake, request }) => {
    const username = headerOf(request, 'x-rucio-username');
    const password = headerOf(request, 'x-rucio-password');
    if (username === undefined || password === undefined) {
      throw new WeftError(
        'unauthenticated',
        'CannotAuthenticate',
        'Cannot authenticate without X-Rucio-Username and X-Rucio-Password.',
      );
    }
    const account = headerOf(request, 'x-rucio-account');
    const appId = headerOf(request, 'x-rucio-appid');
    const issued = await loginWithPassword(lake, {
      username,
      password,
      ...(account === undefined ? {} : { account }),
      ...(appId === undefined ? {} : { appId }),
    });
    return done({
      'X-Rucio-Auth-Token': issued.token,
      'X-Rucio-Auth-Token-Expires': printDate(issued.expiresAt) ?? '',
      'X-Rucio-Auth-Account': issued.account,
    });
  }),

  publicRoute('GET', '/auth/validate', async ({ lake, request }) => {
    const token = headerOf(request, 'x-rucio-auth-token');
    if (token === undefined)
      throw new WeftError('unauthenticated', 'CannotAuthenticate', 'Cannot authenticate without a token.');
    const issuer = await identifyIssuer(lake, token, headerOf(request, 'x-rucio-account'));
    const asJson = (request.headers.accept ?? '*/*').includes('application/json');
    return asJson ? json(validation(issuer)) : text('text/html; charset=utf-8', pythonDictionary(issuer));
  }),
];

function validation(issuer: Issuer): Record<string, unknown> {
  return {
    account: issuer.account,
    identity: issuer.identity,
    lifetime: printDate(issuer.expiresAt),
    audience: issuer.audience.join(' '),
    authz_scope: issuer.scopes.join(' '),
    vo: 'def',
  };
}

/** The body of upstream: the `repr` of a dictionary. */
function pythonDictionary(issuer: Issuer): string {
  const quote = (value: string) => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const at = issuer.expiresAt;
  const numbers = [
    at.getUTCFullYear(),
    at.getUTCMonth() + 1,
    at.getUTCDate(),
    at.getUTCHours(),
    at.getUTCMinutes(),
    at.getUTCSeconds(),
  ];
  const entries = Object.entries(validation(issuer)).map(([key, value]) =>
    key === 'lifetime'
      ? `'lifetime': datetime.datetime(${numbers.join(', ')})`
      : `${quote(key)}: ${quote(String(value))}`,
  );
  return `{${entries.join(', ')}}`;
}
