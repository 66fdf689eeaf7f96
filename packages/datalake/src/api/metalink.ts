import { didText } from '../core/names.ts';
import type { FileReplicas } from '../core/replicas/list-replicas.ts';

export const METALINK_TYPE = 'application/metalink4+xml';

/** RFC 5854 with the elements of upstream (brief rucio-api 2.4), which the download client parses by name. */
export async function* printMetalink(files: AsyncIterable<FileReplicas>): AsyncIterable<string> {
  yield '<?xml version="1.0" encoding="UTF-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink">\n';
  for await (const file of files) yield printFile(file);
  yield '</metalink>\n';
}

function printFile(file: FileReplicas): string {
  const did = escapeXml(didText(file));
  const parents = file.parents.map((parent) => `<did>${escapeXml(parent)}</did>`).join('');
  return [
    ` <file name="${escapeXml(file.name)}">`,
    ...(parents === '' ? [] : [`  <parents>${parents}</parents>`]),
    `  <identity>${did}</identity>`,
    ...(file.adler32 === null ? [] : [`  <hash type="adler32">${escapeXml(file.adler32)}</hash>`]),
    ...(file.md5 === null ? [] : [`  <hash type="md5">${escapeXml(file.md5)}</hash>`]),
    `  <size>${file.bytes}</size>`,
    `  <glfn name="/generic/rucio/${did}"></glfn>`,
    ...file.pfns.map(
      ({ url, rse, domain, rank }) =>
        `  <url location="${rse.rse}" domain="${domain}" priority="${rank}" client_extract="false">${escapeXml(url)}</url>`,
    ),
    ' </file>\n',
  ].join('\n');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
