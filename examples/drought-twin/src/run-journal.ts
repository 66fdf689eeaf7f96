import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Site } from './instance.ts';

const lineSchema = z.object({
  uid: z.string().nullable(),
  event: z.enum(['started', 'completed']),
  at: z.string(),
});
export type JournalLine = z.output<typeof lineSchema>;

export const JOURNAL_NAME = 'run-journal.ndjson';

/** What the payload wrote into the scratch folders of the sites: one line when a run begins, one when it is done. */
export function readJournal(data: string, sites: readonly Site[]): JournalLine[] {
  return sites.flatMap(({ name }) => {
    const file = join(data, 'sites', name, 'scratch', JOURNAL_NAME);
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => lineSchema.parse(JSON.parse(line)));
  });
}
