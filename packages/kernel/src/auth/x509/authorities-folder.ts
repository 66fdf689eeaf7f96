import { X509Certificate } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { describeError } from '../../errors/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { oneLine } from './certificate.ts';
import { parse, type Trust } from './certification-path.ts';
import { type RevocationList, readRevocationList } from './revocation-list.ts';
import { readNamespaces, readSigningPolicy, type SigningPolicy } from './signing-policy.ts';

/** What a folder of authorities says at one moment. */
export type Authorities = Required<Pick<Trust, 'anchors' | 'revocationLists' | 'maySign'>>;

/**
 * Reads a folder as grid software and OpenSSL have it (`/etc/grid-security/certificates`; `fetch-crl` renews its lists):
 * authorities in `<hash>.0` or `*.pem`, revocation lists in `<hash>.r0` (PEM or DER), and beside them
 * `<hash>.signing_policy` and `<hash>.namespaces`, all of which must allow a subject where they are there.
 *
 * A file that cannot be read is told to `log` and makes nothing possible: a broken list counts as one that is too old, a
 * broken policy as one that allows nothing.
 *
 * @throws {Error} when the folder itself cannot be read
 */
export async function readAuthorities(folder: string, log: Logger): Promise<Authorities> {
  const names = (await readdir(folder)).sort();
  const read = (name: string) => readFile(path.join(folder, name));
  const authorities = new Map<string, { certificate: X509Certificate; stems: Set<string> }>();
  const broken = (name: string, error: unknown) =>
    log.warn(
      { file: path.join(folder, name), reason: describeError(error) },
      'a file of trust is unreadable',
    );

  for (const name of names) {
    const [, stem] = /^(.+)\.(?:\d|pem|crt)$/.exec(name) ?? [];
    if (stem === undefined) continue;
    try {
      for (const certificate of readCertificates(await read(name))) {
        const { fingerprint256: key } = certificate;
        const entry = authorities.get(key) ?? { certificate, stems: new Set() };
        entry.stems.add(stem);
        authorities.set(key, entry);
      }
    } catch (error) {
      broken(name, error);
    }
  }

  const revocationLists = new Map<string, RevocationList>();
  const policies = new Map<string, SigningPolicy[]>();
  for (const name of names) {
    const [, stem, kind] = /^(.+)\.(r\d|crl|signing_policy|namespaces)$/.exec(name) ?? [];
    if (stem === undefined || kind === undefined) continue;
    try {
      const content = await read(name);
      if (kind === 'signing_policy') add(policies, stem, readSigningPolicy(content.toString('utf8')));
      else if (kind === 'namespaces') add(policies, stem, readNamespaces(content.toString('utf8')));
      // Links by the old and the new hash lead to the same list.
      else revocationLists.set(content.toString('base64'), readRevocationList(derOf(content)));
    } catch (error) {
      broken(name, error);
      if (kind === 'signing_policy' || kind === 'namespaces') add(policies, stem, { permits: () => false });
      else
        for (const { certificate, stems } of authorities.values())
          if (stems.has(stem))
            revocationLists.set(`${name} ${certificate.fingerprint256}`, unusable(certificate));
    }
  }

  const stemsOf = new Map([...authorities.values()].map(({ certificate, stems }) => [certificate, stems]));
  return {
    anchors: [...stemsOf.keys()],
    revocationLists: [...revocationLists.values()],
    maySign(authority, subject) {
      const name = oneLine(parse(authority));
      const own = [...(stemsOf.get(authority) ?? [])].flatMap((stem) => policies.get(stem) ?? []);
      return own.every((policy) => policy.permits(name, subject));
    },
  };
}

/** Changes whenever a file of the folder (or one that a link leads to) does. */
export async function fingerprintFolder(folder: string, depth = 0): Promise<string> {
  const names = (await readdir(folder)).sort();
  const parts = await Promise.all(
    names.map(async (name) => {
      const file = path.join(folder, name);
      // A link that leads nowhere, or a file that is being replaced, is looked at again next time.
      const info = await stat(file).catch(() => undefined);
      if (info?.isDirectory()) return depth > 0 ? `${name}/${await fingerprintFolder(file, depth - 1)}` : '';
      return info === undefined ? '' : `${name} ${info.ino} ${info.size} ${info.mtimeMs}`;
    }),
  );
  return parts.join('\n');
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** @throws {Error} when a certificate is malformed */
export function readCertificates(pem: Buffer): X509Certificate[] {
  return [...pem.toString('latin1').matchAll(PEM_CERTIFICATE)].map(([block]) => {
    const certificate = new X509Certificate(block);
    parse(certificate);
    return certificate;
  });
}

function derOf(content: Buffer): Buffer {
  const [, base64] = /-----BEGIN X509 CRL-----([^-]+)-----END/.exec(content.toString('latin1')) ?? [];
  return base64 === undefined ? content : Buffer.from(base64, 'base64');
}

/** A list that is there but says nothing: its authority's certificates cannot be checked. */
function unusable(authority: X509Certificate): RevocationList {
  return {
    issuer: parse(authority).subject,
    nextUpdate: undefined,
    revoked: new Set(),
    isSignedBy: () => false,
  };
}

function add<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
