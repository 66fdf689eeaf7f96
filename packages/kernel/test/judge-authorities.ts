// judge-authorities.ts FOLDER: reads a folder of authorities, and looks for the way from each to a root, as the certificate of a
// user has to go. Prints what was found, for interop/voms.
import { readAuthorities } from '../src/auth/x509/authorities-folder.ts';
import { oneLine, readCertificate } from '../src/auth/x509/certificate.ts';
import { requirePath } from '../src/auth/x509/certification-path.ts';
import { describeError } from '../src/errors/index.ts';
import { createLogger } from '../src/telemetry/index.ts';

const [folder = ''] = process.argv.slice(2);
const log = createLogger({ name: 'judge-authorities', level: 'silent' });
const unreadable: unknown[] = [];
log.warn = (facts: unknown) => unreadable.push(facts);
const trust = await readAuthorities(folder, log);
const refused: string[] = [];
let roots = 0;
for (const anchor of trust.anchors) {
  const certificate = readCertificate(anchor);
  if (certificate.subject.equals(certificate.issuer)) {
    roots += 1;
    continue;
  }
  try {
    requirePath(certificate, [], trust);
  } catch (error) {
    refused.push(`${oneLine(certificate)}: ${describeError(error)}`);
  }
}
console.log(JSON.stringify({ authorities: trust.anchors.length, roots, unreadable, refused }));
