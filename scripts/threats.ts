// docs/threats.md names a test for every threat; each must still be there under that name. Prints what is missing and fails.
import { existsSync, readFileSync } from 'node:fs';

const TABLE = 'docs/threats.md';
const REFERENCE = /`([^`\s]+\.ts)` "([^"]+)"/g;

const missing: string[] = [];
let rows = 0;
for (const line of readFileSync(TABLE, 'utf8').split('\n')) {
  if (!/^\| [TS]\d+ /.test(line)) continue;
  rows += 1;
  const references = [...line.matchAll(REFERENCE)];
  if (references.length === 0) missing.push(`${line.slice(2, 6).trim()} names no test`);
  for (const [, file = '', name = ''] of references) {
    if (!existsSync(file)) missing.push(`${file} is not there`);
    else if (!readFileSync(file, 'utf8').includes(name)) missing.push(`${file} has no test "${name}"`);
  }
}
for (const text of missing) console.error(`${TABLE}: ${text}`);
if (missing.length > 0 || rows === 0) process.exit(1);
