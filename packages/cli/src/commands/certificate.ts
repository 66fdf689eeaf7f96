import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import { ensureAuthority } from '@weft/kernel/pki';
import { locateDataFolder, writePrivateFile } from '../data-folder.ts';

/** A client certificate of the instance's authority, as grid clients want it: `usercert.pem` and `userkey.pem`. */
export async function certificate(name: string, options: { data: string; out: string }): Promise<void> {
  const folder = locateDataFolder(options.data);
  if (!existsSync(path.join(folder.pki, 'ca.pem'))) {
    throw new ExitError(66, `There is no instance in ${folder.root}. Mend: weft up, or --data DIR.`);
  }
  const authority = await ensureAuthority(folder.pki);
  const issued = await authority.issueClientCertificate(name);
  const out = path.resolve(options.out);
  mkdirSync(out, { recursive: true });
  const [certificateFile, keyFile] = [path.join(out, 'usercert.pem'), path.join(out, 'userkey.pem')];
  writePrivateFile(keyFile, issued.key);
  writePrivateFile(certificateFile, issued.certificate);
  process.stdout.write(
    `X509_USER_CERT=${certificateFile} X509_USER_KEY=${keyFile} X509_CERT_DIR=${authority.certificatesFolder}\n`,
  );
}
