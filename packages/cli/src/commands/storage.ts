import { ExitError } from '@weft/kernel/errors';
import { z } from 'zod';
import { reachSiteStorage, type SiteStorageOptions } from '../site-storage.ts';

export interface AppPasswordOptions extends SiteStorageOptions {
  readonly scope?: string;
  readonly days?: string;
  readonly json?: boolean;
}

const madeSchema = z.object({
  id: z.string(),
  label: z.string(),
  scopes: z.array(z.string()),
  expires_at: z.string(),
  password: z.string().optional(),
});

/** Makes a password for a device that knows only Basic; printed once, alone on standard output. */
export async function makeAppPassword(label: string, options: AppPasswordOptions): Promise<void> {
  const answer = await ask(options, 'POST', '', {
    label,
    ...(options.scope === undefined ? {} : { scopes: options.scope.split(' ') }),
    ...(options.days === undefined ? {} : { lifetime_days: Number(options.days) }),
  });
  const made = madeSchema.parse(await answer.json());
  process.stderr.write(`${made.label} (${made.id}) until ${made.expires_at}; it is not shown again.\n`);
  process.stdout.write(`${made.password ?? ''}\n`);
}

export async function listAppPasswords(options: AppPasswordOptions): Promise<void> {
  const answer = await ask(options, 'GET', '');
  const all = z.array(madeSchema).parse(await answer.json());
  if (options.json) return void process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
  for (const { id, label, scopes, expires_at } of all)
    process.stdout.write(`${id}  ${label}  until ${expires_at}  ${scopes.join(' ')}\n`);
}

export async function revokeAppPassword(id: string, options: AppPasswordOptions): Promise<void> {
  await ask(options, 'DELETE', `/${encodeURIComponent(id)}`);
}

/** Asks the storage of a site as one of the embedded issuer's users. @throws {ExitError} 69 when it refuses. */
async function ask(
  options: AppPasswordOptions,
  method: string,
  path: string,
  body?: object,
): Promise<Response> {
  const { url, fetch, token } = reachSiteStorage(options);
  try {
    const answer = await fetch(`${url}/.weft/api/v1/app-passwords${path}`, {
      method,
      headers: { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok)
      throw new ExitError(69, `The storage of ${options.site} answered ${answer.status}: ${text.trim()}`);
    return new Response(text === '' ? null : text, { status: answer.status === 204 ? 200 : answer.status });
  } finally {
    await fetch.close();
  }
}
