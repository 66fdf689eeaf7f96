import type { X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describeError } from '../../errors/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { readCertificates } from './authorities-folder.ts';
import { canonicalName } from './signing-policy.ts';

/** Who may give attributes of a VO. */
export interface VomsServers {
  /** Names in one-line form: the server's, then those of its authorities. */
  readonly chains: readonly (readonly string[])[];
  /** Certificates of servers that are trusted as they are. */
  readonly certificates: readonly X509Certificate[];
}

/**
 * Reads a folder like `/etc/grid-security/vomsdir`: one folder a VO, in it `<host>.lsc` (names, one a line; several chains
 * are separated by a line `------ NEXT CHAIN ------`) or the server's certificate as `*.pem`. A file that cannot be read
 * is told to `log` and lets nobody in.
 *
 * @throws {Error} when the folder itself cannot be read
 */
export async function readVomsServers(
  folder: string,
  log: Logger,
): Promise<ReadonlyMap<string, VomsServers>> {
  const servers = new Map<string, VomsServers>();
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory() && !entry.isSymbolicLink()) continue;
    const chains: string[][] = [];
    const certificates: X509Certificate[] = [];
    for (const name of await namesIn(path.join(folder, entry.name), log)) {
      const file = path.join(folder, entry.name, name);
      try {
        if (name.endsWith('.lsc')) chains.push(...readChains(await readFile(file, 'utf8')));
        else if (name.endsWith('.pem')) certificates.push(...readCertificates(await readFile(file)));
      } catch (error) {
        log.warn({ file, reason: describeError(error) }, 'a file of trust is unreadable');
      }
    }
    servers.set(entry.name, { chains, certificates });
  }
  return servers;
}

async function namesIn(folder: string, log: Logger): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    log.warn({ folder, reason: describeError(error) }, 'a folder of trust is unreadable');
    return [];
  }
}

function readChains(text: string): string[][] {
  return text
    .split(/^-+\s*NEXT CHAIN\s*-+$/im)
    .map((chain) =>
      chain
        .split(/\r?\n/)
        .map((line) => line.trim())
        .filter((line) => line.startsWith('/'))
        .map(canonicalName),
    )
    .filter((chain) => chain.length > 0)
    .map((chain) => {
      // A server's name alone would let any authority make one.
      if (chain.length < 2) throw new RangeError('a chain of names needs the server and its authority');
      return chain;
    });
}
