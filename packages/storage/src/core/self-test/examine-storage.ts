import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { describeError } from '@weft/kernel/errors';
import type { AliseContext } from '../local-users/multi-user.ts';
import { examineArea } from './examine-area.ts';
import { examineLocalUsers } from './examine-local-users.ts';
import { examineRules } from './examine-rules.ts';
import { bad, good, note, type StorageFinding } from './finding.ts';

export interface SelfTest extends AliseContext {
  readonly tls: { readonly certificate_file: string; readonly key_file: string };
  readonly issuers: readonly string[];
  /** Try a worker as this local user. */
  readonly account?: string;
}

const DAY = 24 * 3600 * 1000;
const SOON_DAYS = 14;
const SKEW_MILLISECONDS = 60_000;
const ISSUER_MILLISECONDS = 5_000;

/** Everything that one storage instance needs of its machine and its neighbours; leaves nothing behind. */
export async function examineStorage(test: SelfTest): Promise<StorageFinding[]> {
  const { config } = test;
  const findings = [
    ...walk(),
    processes(test),
    tls(test),
    ...(await Promise.all(test.issuers.map((issuer) => issuerAndClock(test, issuer)))),
  ];
  for (const area of config.areas) findings.push(...(await examineArea(area)));
  findings.push(...examineRules(config, test.issuers));
  if (config.multi_user) findings.push(...(await examineLocalUsers(test, config.multi_user, test.account)));
  else
    findings.push(
      good('mode', `single-user: everything is done as uid ${process.getuid?.() ?? 'of this process'}`),
    );
  return findings;
}

function walk(): StorageFinding[] {
  if (existsSync('/proc/self/fd')) return [good('paths', 'walked by descriptors, without following links')];
  return [
    note(
      'paths',
      'without /proc a link that is planted at the right moment is not noticed',
      'Mount /proc, or serve only folders that one account writes to.',
    ),
  ];
}

function processes({ config }: SelfTest): StorageFinding {
  const cores = availableParallelism();
  const wanted = config.processes;
  if (wanted === 'auto') return good('processes', `auto, on ${cores} cores: four at most`);
  if (wanted > 1 && process.platform !== 'linux')
    return bad('processes', 'several processes on one port need Linux', 'processes: 1');
  if (wanted > cores)
    return note('processes', `${wanted} on ${cores} cores: more only wait for each other`, 'processes: auto');
  return good('processes', `${wanted} on ${cores} cores`);
}

function tls({ tls: files, config }: SelfTest): StorageFinding {
  const name = 'certificate';
  try {
    const certificate = new X509Certificate(readFileSync(files.certificate_file));
    if (!certificate.checkPrivateKey(createPrivateKey(readFileSync(files.key_file))))
      return bad(name, `${files.key_file} is not its key`, 'Name the two files that belong together.');
    const ends = new Date(certificate.validTo);
    const days = Math.floor((ends.getTime() - Date.now()) / DAY);
    if (days < 0)
      return bad(name, `ended on ${certificate.validTo}`, 'Renew it; it is read again without a restart.');
    const host = new URL(config.url).hostname.replace(/^\[|\]$/g, '');
    const covered = isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host);
    if (covered === undefined)
      return bad(name, `does not name ${host}`, `Have one made for ${host}, or change url.`);
    const found = `names ${host}, ${days} days left`;
    return days < SOON_DAYS
      ? note(name, found, 'Renew it; it is read again without a restart.')
      : good(name, found);
  } catch (error) {
    return bad(name, describeError(error), 'See tls.certificate_file and tls.key_file.');
  }
}

/** The issuer's clock is as good as any to notice that ours is wrong: tokens are judged by it. */
async function issuerAndClock({ fetch }: SelfTest, issuer: string): Promise<StorageFinding> {
  const name = `issuer ${issuer}`;
  try {
    const response = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
      timeoutMilliseconds: ISSUER_MILLISECONDS,
    });
    await response.body?.cancel();
    if (!response.ok) return bad(name, `answers ${response.status}`, 'See the issuer in issuers[].');
    const skew = Date.parse(response.headers.get('date') ?? '') - Date.now();
    if (Number.isNaN(skew)) return good(name, 'answers');
    const seconds = Math.round(skew / 1000);
    return Math.abs(skew) > SKEW_MILLISECONDS
      ? bad(
          name,
          `its clock and ours differ by ${seconds} s: tokens are taken for expired`,
          'Set the clock: systemctl enable --now systemd-timesyncd.',
        )
      : good(name, `answers; its clock and ours differ by ${Math.abs(seconds)} s`);
  } catch (error) {
    return bad(
      name,
      describeError(error),
      'See outgoing.allow_origins and outgoing.certificate_authorities.',
    );
  }
}
