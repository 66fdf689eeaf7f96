import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { SiteConfig } from '../../config.ts';

/** A link that another program knew. */
export interface ImportedLink {
  readonly username: string;
  readonly kind: 'internal' | 'external';
  readonly issuer: string;
  readonly subject: string;
  readonly display_name: string | null;
}

const UNIX_NAME = /^[a-z_][a-z0-9_.-]{0,63}$/;

const userSchema = z.array(
  z.object({ session_id: z.string(), identity: z.string(), jsonstr: z.string().nullable() }),
);
const detailsSchema = z.looseObject({
  generated_username: z.string().nullish(),
  display_name: z.string().nullish(),
});

type AliseUser = z.output<typeof userSchema>[number];

/**
 * The links in an ALISE database (`alise_<site>.db`). An identity is `<provider name>:<sub>` there, so the providers of the
 * site must be configured under the names that they had; people of others are left out (brief alise-aai 2.2, 8.3).
 *
 * @throws {WeftError} `invalid`, code `import-failed`
 */
export function readAliseDatabase(file: string, site: SiteConfig): ImportedLink[] {
  const [internal, external] = readTables(file);
  const usernames = new Map<string, string>();
  const links: ImportedLink[] = [];
  for (const user of internal) {
    const link = linkOf(user, 'internal', site);
    const username = detailsOf(user).generated_username ?? '';
    if (link === undefined || !UNIX_NAME.test(username)) continue;
    usernames.set(user.session_id, username);
    links.push({ ...link, username });
  }
  for (const user of external) {
    const link = linkOf(user, 'external', site);
    const username = usernames.get(user.session_id);
    if (link !== undefined && username !== undefined) links.push({ ...link, username });
  }
  return links;
}

/**
 * The links in a mapping file of Teapot: `username sub` a line, no header, the first line of a subject wins. The file names
 * no issuer, so the configuration does.
 *
 * @throws {WeftError} `invalid`, code `import-failed`
 */
export function readMappingFile(file: string, issuer: string): ImportedLink[] {
  const links = new Map<string, ImportedLink>();
  for (const [index, line] of readFileSync(file, 'utf8').split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const [username = '', subject = '', ...more] = line.trim().split(/\s+/);
    if (!UNIX_NAME.test(username) || subject === '' || more.length > 0)
      throw new WeftError('invalid', 'import-failed', `${file}, line ${index + 1}: not "username sub".`);
    if (!links.has(subject))
      links.set(subject, { username, kind: 'external', issuer, subject, display_name: null });
  }
  return [...links.values()];
}

function readTables(file: string): [internal: AliseUser[], external: AliseUser[]] {
  try {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      const read = (table: 'int_user' | 'ext_user') =>
        userSchema.parse(database.prepare(`select session_id, identity, jsonstr from ${table}`).all());
      return [read('int_user'), read('ext_user')];
    } finally {
      database.close();
    }
  } catch (cause) {
    throw new WeftError('invalid', 'import-failed', `${file} is not an ALISE database.`, { cause });
  }
}

function linkOf(
  user: AliseUser,
  kind: ImportedLink['kind'],
  site: SiteConfig,
): Omit<ImportedLink, 'username'> | undefined {
  const colon = user.identity.indexOf(':');
  const provider = site[kind].find(({ name }) => name === user.identity.slice(0, colon));
  if (colon < 0 || provider === undefined) return undefined;
  const { display_name = null } = detailsOf(user);
  return { kind, issuer: provider.issuer, subject: user.identity.slice(colon + 1), display_name };
}

function detailsOf({ jsonstr }: AliseUser): z.output<typeof detailsSchema> {
  return detailsSchema.parse(JSON.parse(jsonstr ?? '{}'));
}
