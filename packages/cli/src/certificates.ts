import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import path from 'node:path';

const DAY = 86_400_000;
/** Renewed when so much of its life is left. */
const RENEW_DAYS = 30;
/** The revocation list holds for a year. */
const PUBLISH_DAYS = 90;

/**
 * Makes what is missing or about to end: the authority, the server's certificate for `hosts`, the folder for OpenSSL. The
 * code that makes certificates is loaded only then, which is a tenth of a second of every other start.
 */
export async function ensureCertificates(folder: string, hosts: readonly string[]): Promise<void> {
  if (isFresh(folder, hosts)) return;
  const { ensureAuthority } = await import('@weft/kernel/pki');
  const authority = await ensureAuthority(folder);
  await authority.ensureServerCertificate('server', { commonName: 'localhost', hosts });
}

function isFresh(folder: string, hosts: readonly string[]): boolean {
  const server = path.join(folder, 'server.pem');
  const published = path.join(folder, 'certificates');
  const needed = [server, path.join(folder, 'server.key'), path.join(folder, 'ca.pem'), published];
  if (!needed.every((each) => existsSync(each))) return false;
  const list = readdirSync(published).find((name) => name.endsWith('.r0'));
  if (list === undefined) return false;
  const listAge = Date.now() - statSync(path.join(published, list)).mtimeMs;
  const leaf = new X509Certificate(readFileSync(server));
  const authority = new X509Certificate(readFileSync(path.join(folder, 'ca.pem')));
  return (
    listAge < PUBLISH_DAYS * DAY &&
    leaf.validToDate.getTime() - Date.now() > RENEW_DAYS * DAY &&
    leaf.checkIssued(authority) &&
    hosts.every((host) => (isIP(host) ? leaf.checkIP(host) : leaf.checkHost(host)) !== undefined)
  );
}
