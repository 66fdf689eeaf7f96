import { execFile, spawn } from 'node:child_process';
import {
  accessSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createAliseClient } from '@weft/identity/client';
import { describeError } from '@weft/kernel/errors';
import type { MultiUserConfig, StorageConfig } from '../../config.ts';
import { toFacts } from '../files/facts.ts';
import { expandAccounts } from '../local-users/account-pool.ts';
import { type Account, createAccounts } from '../local-users/accounts.ts';
import { loadAdopt } from '../local-users/adopt-descriptor.ts';
import { results } from '../local-users/file-answers.ts';
import { parseMappingFile } from '../local-users/mapping.ts';
import { type AliseContext, aliseOf, limitsOf, rootOf } from '../local-users/multi-user.ts';
import { startWorker } from '../local-users/worker-process.ts';
import { bad, good, note, type StorageFinding } from './finding.ts';

const execute = promisify(execFile);

/** Bits of `CapEff` (linux/capability.h). */
const NEEDED = { CAP_KILL: 5, CAP_SETGID: 6, CAP_SETUID: 7 };
const WORKER_MEBIBYTES = 14;
const NOBODY = 'weft-self-test';
const ALISE_MILLISECONDS = 3_000;

/** What multi-user mode needs of this machine, and whether users can be mapped (brief teapot 3.1, 3.3). */
export async function examineLocalUsers(
  context: AliseContext,
  rules: MultiUserConfig,
  account: string | undefined,
): Promise<StorageFinding[]> {
  const { config } = context;
  const accounts = createAccounts({
    minimumUid: rules.minimum_uid,
    denied: rules.denied_accounts,
    deniedShells: rules.denied_shells,
    allowedGroups: rules.allowed_groups,
  });
  const findings = [
    privileges(),
    ...(await programs()),
    reachableNode(),
    await handOver(),
    uidFloor(rules),
    memory(rules),
    memoryLimit(rules),
  ];
  for (const method of rules.mapping) findings.push(...(await examineMethod(context, method, accounts.find)));
  if (account !== undefined)
    findings.push(...(await tryWorker({ config, rules, find: accounts.find }, account)));
  return findings;
}

function privileges(): StorageFinding {
  const name = 'privileges';
  const mend =
    'Run as root, or with AmbientCapabilities=CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_PTRACE (docs/systemd).';
  if (process.platform !== 'linux') return bad(name, 'local users are Linux only', 'Leave multi_user out.');
  if (process.getuid?.() === 0) return good(name, 'root; workers give all of it up');
  const effective = BigInt(
    `0x${/^CapEff:\s+([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`,
  );
  const missing = Object.entries(NEEDED).filter(([, bit]) => (effective & (1n << BigInt(bit))) === 0n);
  return missing.length === 0
    ? good(name, 'the capabilities to become other users, without root')
    : bad(name, `${missing.map(([capability]) => capability).join(', ')} missing`, mend);
}

async function programs(): Promise<StorageFinding[]> {
  const packages: Readonly<Record<string, string>> = {
    setpriv: 'util-linux',
    prlimit: 'util-linux',
    getent: 'libc-bin',
    id: 'coreutils',
  };
  const missing: string[] = [];
  for (const program of Object.keys(packages)) {
    await execute('sh', ['-c', 'command -v "$1"', 'sh', program]).catch(() => missing.push(program));
  }
  if (missing.length === 0) return [good('programs', `${Object.keys(packages).join(', ')} are here`)];
  const needed = [...new Set(missing.map((program) => packages[program]))].join(' ');
  return [bad('programs', `${missing.join(', ')} missing`, `Install them: apt-get install ${needed}.`)];
}

/** Workers run it as their users. */
function reachableNode(): StorageFinding {
  for (let folder = dirname(process.execPath); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0)
      return bad(
        'node for users',
        `${process.execPath}: ${folder} is closed to other users`,
        `Install Weft below a folder that all may pass, such as /opt, or: chmod o+x ${folder}.`,
      );
    if (folder === '/') return good('node for users', `${process.execPath} can be run by every user`);
  }
}

/** Takes over a descriptor of a process of ours, as for every GET. */
async function handOver(): Promise<StorageFinding> {
  const name = 'descriptors';
  const folder = mkdtempSync(join(tmpdir(), 'weft-self-test-'));
  const file = join(folder, 'file');
  writeFileSync(file, 'weft');
  const descriptor = openSync(file, 'r');
  const child = spawn('sleep', ['30'], { stdio: [descriptor, 'ignore', 'ignore'] });
  try {
    const adopter = (await loadAdopt())(child.pid ?? 0);
    const adopted = adopter.adopt(0, toFacts(statSync(file, { bigint: true })));
    await adopted?.close();
    adopter.close();
    if (adopted) return good(name, 'open files are taken over from workers (koffi, pidfd_getfd)');
    const installed = await import('koffi').then(
      () => true,
      () => false,
    );
    return note(
      name,
      'downloads pass through the worker, at about twice the cost',
      installed
        ? 'Add CAP_SYS_PTRACE.'
        : 'Install the optional package koffi: npm install without --omit=optional.',
    );
  } finally {
    child.kill('SIGKILL');
    closeSync(descriptor);
    rmSync(folder, { recursive: true });
  }
}

function uidFloor({ minimum_uid: floor }: MultiUserConfig): StorageFinding {
  const name = 'uid floor';
  const site = Number(/^UID_MIN\s+(\d+)/m.exec(readIfThere('/etc/login.defs'))?.[1] ?? 1000);
  return floor < site
    ? note(
        name,
        `${floor}, below the ${site} of /etc/login.defs: accounts of the system could be served`,
        `Set multi_user.minimum_uid to ${site}.`,
      )
    : good(name, `accounts below ${floor} are never served`);
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Not every system has it; the default stands then.
    return '';
  }
}

function memory({ maximum_workers: maximum }: MultiUserConfig): StorageFinding {
  const needed = maximum * WORKER_MEBIBYTES;
  const total = Math.round(totalmem() / 2 ** 20);
  const found = `${maximum} workers take about ${needed} MiB of ${total}`;
  return needed < total / 2
    ? good('memory', found)
    : note('memory', found, 'Lower multi_user.maximum_workers.');
}

/** How a worker is kept from taking all of the machine. */
function memoryLimit({ worker_memory_bytes: bytes, worker_cgroup: cgroup }: MultiUserConfig): StorageFinding {
  const name = 'memory of a worker';
  const mebibytes = Math.round(bytes / 2 ** 20);
  if (cgroup === undefined)
    return good(
      name,
      `at most ${mebibytes} MiB, by RLIMIT_DATA; what it reads through the page cache is not counted`,
    );
  const probe = join(cgroup, `weft-self-test-${process.pid}`);
  try {
    mkdirSync(probe);
    try {
      accessSync(join(probe, 'memory.max'));
    } finally {
      rmdirSync(probe);
    }
    return good(name, `at most ${mebibytes} MiB, by a cgroup of its own below ${cgroup}`);
  } catch (error) {
    const mend =
      'Name a folder of cgroup v2 that the service owns, with +memory in its cgroup.subtree_control.';
    return bad(name, `${cgroup}: ${describeError(error)}`, mend);
  }
}

type Find = (name: string) => Promise<Account>;

async function examineMethod(
  context: AliseContext,
  method: MultiUserConfig['mapping'][number],
  find: Find,
): Promise<StorageFinding[]> {
  const name = `mapping ${method.method}`;
  switch (method.method) {
    case 'alise': {
      const { url, site, credential } = aliseOf(context, method);
      try {
        const client = createAliseClient({
          url,
          credential,
          fetch: (input, init) => context.fetch(input, { ...init, timeoutMilliseconds: ALISE_MILLISECONDS }),
        });
        await client.findMapping(site, 'https://nobody.invalid', NOBODY);
        return [good(name, `${url} answers for the site ${site}`)];
      } catch (error) {
        const mend = 'See its address, outgoing.allow_origins, and api_key or credentials.storage.';
        return [bad(name, `${url}: ${describeError(error)}`, mend)];
      }
    }
    case 'file':
      try {
        const text = await readFile(method.file, 'utf8');
        const mapped = parseMappingFile(text, method.issuer);
        const lines = text.split('\n').filter((line) => /^\s*[^#\s]/.test(line)).length;
        return [
          mapped.size < lines
            ? note(
                name,
                `${method.file}: ${lines - mapped.size} of ${lines} lines map nobody`,
                'Write "account subject issuer", one line a user.',
              )
            : good(name, `${method.file}: ${mapped.size} users`),
          ...(await refusedAccounts(name, [...mapped.values()], find)),
        ];
      } catch (error) {
        return [bad(name, `${method.file}: ${describeError(error)}`, 'Make it readable for the service.')];
      }
    case 'group':
      return [
        good(name, `${method.pairs.length} groups of ${method.issuer}`),
        ...(await refusedAccounts(
          name,
          method.pairs.map((pair) => pair.account),
          find,
        )),
      ];
    case 'pool': {
      const names = expandAccounts(method.accounts);
      return [
        good(name, `${names.length} accounts for users of ${method.issuer}`),
        ...(method.recycle_days === undefined
          ? []
          : [
              note(
                `${name}: recycling`,
                `accounts unused for ${method.recycle_days} days are lent again, with the files in them`,
                'Clear the folders of such accounts before, or leave recycle_days out.',
              ),
            ]),
        ...(await refusedAccounts(name, names, find)),
      ];
    }
    case 'claim':
      return [
        note(
          name,
          `${method.issuer} names local accounts by the claim ${method.claim}`,
          'Only for an issuer whose administrators may act as any local user.',
        ),
      ];
  }
}

const MAXIMUM_TRIED = 200;

async function refusedAccounts(
  name: string,
  names: readonly string[],
  find: Find,
): Promise<StorageFinding[]> {
  const reasons: string[] = [];
  for (const account of [...new Set(names)].slice(0, MAXIMUM_TRIED))
    await find(account).catch((error: unknown) => reasons.push(describeError(error)));
  if (reasons.length === 0) return [];
  return [note(`${name}: accounts`, reasons.join(' '), 'Make these accounts, or take their lines out.')];
}

/** Starts a worker as one user and lets it look at every area. */
async function tryWorker(
  { config, rules, find }: { config: StorageConfig; rules: MultiUserConfig; find: Find },
  name: string,
): Promise<StorageFinding[]> {
  const label = `account ${name}`;
  try {
    const account = await find(name);
    const startedAt = performance.now();
    const worker = await startWorker(
      account,
      {
        identity: account,
        areas: config.areas.map((area) => ({
          name: area.name,
          root: rootOf(area, account),
          durability: area.durability,
          umask: area.umask,
        })),
      },
      limitsOf(rules),
    );
    const milliseconds = Math.round(performance.now() - startedAt);
    const findings = [
      good(
        label,
        `uid ${account.uid}, groups ${account.groups.join(' ')}; a worker without privileges started in ${milliseconds} ms`,
      ),
    ];
    try {
      for (const area of config.areas) {
        await worker.call({ call: 'stat', area: area.name, path: [] }, results.facts).then(
          () => findings.push(good(`${label}: ${area.name}`, rootOf(area, account))),
          (error: unknown) =>
            findings.push(
              bad(
                `${label}: ${area.name}`,
                describeError(error),
                `Make ${rootOf(area, account)}, owned by ${name}.`,
              ),
            ),
        );
      }
    } finally {
      await worker.stop();
    }
    return findings;
  } catch (error) {
    return [bad(label, describeError(error), 'See the privileges and the rules for accounts above.')];
  }
}
