import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { IdentityRequestError, requestUserToken } from '@weft/identity/client';
import { ExitError } from '@weft/kernel/errors';
import { createGuardedFetch } from '@weft/kernel/http';
import { importJWK, SignJWT } from 'jose';
import { audiencesOf } from './audiences.ts';
import type { DataFolder } from './data-folder.ts';
import { CLI_CLIENT, type Endpoints } from './endpoints.ts';

/**
 * A token for a user of the embedded issuer: an assertion signed with the data folder's key (RFC 7523), which the issuer's
 * development profile redeems. Whoever can read the key could read the database as well.
 */
export async function userToken(
  folder: DataFolder,
  endpoints: Endpoints,
  request: { user: string; scope?: string; audience?: string; siteAccount?: boolean },
): Promise<string> {
  const issuer = request.siteAccount ? endpoints.site_issuer : endpoints.issuer;
  let stored: Record<string, unknown>;
  let authority: string;
  try {
    stored = JSON.parse(readFileSync(path.join(folder.secrets, `${CLI_CLIENT}.jwk`), 'utf8'));
    authority = readFileSync(endpoints.ca, 'utf8');
  } catch (cause) {
    throw new ExitError(66, `There is no instance in ${folder.root}. Mend: weft up, or --data DIR.`, {
      cause,
    });
  }
  const now = Math.floor(Date.now() / 1000);
  const assertion = await new SignJWT({})
    .setProtectedHeader({ alg: 'ES256', kid: CLI_CLIENT })
    .setIssuer(CLI_CLIENT)
    .setSubject(request.user)
    .setAudience(issuer)
    .setIssuedAt(now)
    .setExpirationTime(now + 60)
    .setJti(randomUUID())
    .sign(await importJWK(stored, 'ES256'));
  const fetch = createGuardedFetch({ allowOrigins: [issuer], certificateAuthorities: [authority] });
  try {
    const { accessToken } = await requestUserToken({
      issuer,
      fetch,
      clientId: CLI_CLIENT,
      assertion,
      ...(request.scope === undefined ? {} : { scope: request.scope }),
      audience:
        request.audience ?? (request.siteAccount ? endpoints.identity : audiencesOf(endpoints).join(' ')),
    });
    return accessToken;
  } catch (cause) {
    if (!(cause instanceof IdentityRequestError)) throw cause;
    throw new ExitError(69, `The issuer gives ${request.user} no token: ${cause.message}`, { cause });
  } finally {
    await fetch.close();
  }
}
