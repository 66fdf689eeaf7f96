import type { AccountingConfig } from '../config.ts';
import type { RecordError } from '../db/schema.ts';
import { JOB_MESSAGE, type JobRow, readJobRecords } from './job-record.ts';
import { readMessage } from './read-message.ts';

/** What is to be done with a message. Quarantined ones are sound and wait for their sender to be allowed. */
export type Verdict =
  | { readonly state: 'loaded'; readonly type: string; readonly rows: readonly JobRow[] }
  | {
      readonly state: 'rejected' | 'quarantined';
      readonly type: string | null;
      readonly reason: string;
      readonly errors: readonly RecordError[];
    };

const MOST_ERRORS = 100;
/** Other messages of APEL's family, to tell "unknown" from "not stored here yet". */
const OTHER_MESSAGES = /^APEL-(summary-job|normalised-summary|sync|cloud|cloud-summary)-message$/;

/** Reads a message and decides about it as a whole (all or nothing, brief accounting 2.4); pure. */
export function judgeMessage(
  body: Uint8Array,
  signer: string,
  config: Pick<AccountingConfig, 'publishers'>,
  now: Date,
): Verdict {
  const reject = (type: string | null, reason: string, errors: readonly RecordError[] = []): Verdict => ({
    state: 'rejected',
    type,
    reason,
    errors: errors.slice(0, MOST_ERRORS),
  });

  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return reject(null, 'The message is not UTF-8 text.');
  }
  if (/^\s*[<{]/.test(text)) return reject(null, 'XML and JSON records are not stored here yet.');
  const message = readMessage(text);
  const type = message.type === undefined ? null : `${message.type} ${message.version}`.slice(0, 200);
  if (message.type === undefined || message.version === '') {
    return reject(null, `The first line is no header such as "${JOB_MESSAGE}: v0.3".`);
  }
  if (OTHER_MESSAGES.test(message.type))
    return reject(type, `Records of type ${message.type} are not stored here yet.`);
  if (message.type !== JOB_MESSAGE)
    return reject(type, `There is no message type ${message.type.slice(0, 80)}.`);

  const { rows, errors } = readJobRecords(message, now);
  const [first] = errors;
  if (first !== undefined) {
    const where = `record ${first.record}, line ${first.line}${first.key === null ? '' : `, ${first.key}`}`;
    const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
    return reject(type, `${where}: ${first.message}${more}`, errors);
  }
  if (rows.length === 0) return reject(type, 'The message has no records.');

  const refusal = refuseSites(rows, signer, config);
  if (refusal !== undefined) return { state: 'quarantined', type, reason: refusal, errors: [] };
  return { state: 'loaded', type: `${message.type} ${message.version}`, rows };
}

/** Binds senders to the sites they speak for, which upstream does not do (brief accounting 2.10, 7). */
function refuseSites(
  rows: readonly JobRow[],
  signer: string,
  config: Pick<AccountingConfig, 'publishers'>,
): string | undefined {
  if (config.publishers === undefined) return undefined;
  const publishers = config.publishers.filter((publisher) => publisher.signer === signer);
  if (publishers.length === 0) return `${signer} is not among the publishers.`;
  const sites = new Set(publishers.flatMap((publisher) => publisher.sites.map(foldName)));
  if (sites.has('*')) return undefined;
  const foreign = rows.find((row) => !sites.has(foldName(row.site)));
  return foreign === undefined ? undefined : `${signer} may not send records of the site ${foreign.site}.`;
}

/** As `accounting.folded` does it in the database. */
function foldName(name: string): string {
  return name.trim().normalize('NFC').toLowerCase();
}
