import { readFileSync } from 'node:fs';
import {
  type AdministratorOptions,
  IdentityRequestError,
  replaceSigningKey,
  setSuspension,
} from '@weft/identity/client';
import { ExitError } from '@weft/kernel/errors';
import { createGuardedFetch } from '@weft/kernel/http';
import { locateDataFolder } from '../data-folder.ts';
import { endpointsOf } from '../endpoints.ts';
import { readInstanceState } from '../instance-state.ts';
import { userToken } from '../user-token.ts';

export interface IdentityOptions {
  readonly data: string;
  readonly portBase?: number;
  /** The administrator. */
  readonly user: string;
  readonly json?: boolean;
  readonly leaked?: boolean;
}

export async function suspend(user: string, options: IdentityOptions): Promise<void> {
  await asAdministrator(options, (issuer) => setSuspension(issuer, user, true));
  process.stderr.write(`${user} is cut off; weft identity resume ${user} takes it back.\n`);
}

export async function resume(user: string, options: IdentityOptions): Promise<void> {
  await asAdministrator(options, (issuer) => setSuspension(issuer, user, false));
  process.stderr.write(`${user} may sign in again.\n`);
}

/** Prints the id of the key that signs now, and those of removed ones to standard error. */
export async function rotateKey(options: IdentityOptions): Promise<void> {
  const { active, removed } = await asAdministrator(options, (issuer) =>
    replaceSigningKey(issuer, options.leaked ?? false),
  );
  if (options.json) return void process.stdout.write(`${JSON.stringify({ active, removed })}\n`);
  for (const key of removed) process.stderr.write(`removed ${key} and all that it signed\n`);
  process.stdout.write(`${active}\n`);
}

async function asAdministrator<Result>(
  options: IdentityOptions,
  work: (issuer: AdministratorOptions) => Promise<Result>,
): Promise<Result> {
  const folder = locateDataFolder(options.data);
  const endpoints = endpointsOf(folder, options.portBase ?? readInstanceState(folder)?.portBase);
  const { issuer } = endpoints;
  const token = await userToken(folder, endpoints, {
    user: options.user,
    audience: issuer,
    scope: 'iam:admin.write',
  });
  const fetch = createGuardedFetch({
    allowOrigins: [issuer],
    certificateAuthorities: [readFileSync(endpoints.ca, 'utf8')],
  });
  try {
    return await work({ issuer, fetch, token });
  } catch (error) {
    if (error instanceof IdentityRequestError)
      throw new ExitError(69, `The issuer answered ${error.status}: ${error.message}`);
    throw error;
  } finally {
    await fetch.close();
  }
}
