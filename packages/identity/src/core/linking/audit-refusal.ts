import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { IdentityTables } from '../../db/schema.ts';
import { type RequestOrigin, recordAudit } from '../audit.ts';

/** What somebody tries to do at a site. */
export interface Tried {
  readonly site: string;
  /** The local account, where one is known. */
  readonly actor?: string | undefined;
  readonly action: string;
  /** What it is done to; asked for when it was refused. */
  readonly object: string | (() => string);
  readonly origin: RequestOrigin;
}

/** Does it; a refusal stands in the audit log of the site with its code (threat T46). */
export async function auditRefusal<Result>(
  database: Sql<IdentityTables>,
  { actor = 'unknown', object, ...tried }: Tried,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WeftError && error.status < 500)
      await recordAudit(database, {
        ...{ ...tried, realm: null, actor, decision: 'refused' },
        object: typeof object === 'string' ? object : object(),
        reason: `${error.code}: ${error.message}`,
      });
    throw error;
  }
}
