import { Document } from 'yaml';

/** What an importer has made of another program's configuration. */
export interface Imported {
  /** Sections of `weft.yaml`. */
  readonly configuration: Readonly<Record<string, unknown>>;
  /** What has no counterpart, or needs a decision: a line each. */
  readonly notes: readonly string[];
}

/** `weft.yaml` with the notes as comments at its head. */
export function printImported(source: string, { configuration, notes }: Imported): string {
  const document = new Document(configuration);
  const lines = [
    `From ${source}. Check it with: weft config show --config FILE; weft doctor storage --config FILE`,
    ...(notes.length === 0 ? ['Everything has a counterpart.'] : ['Left out or to be decided:']),
    ...notes.map((note) => `- ${note}`),
  ];
  document.commentBefore = lines.map((line) => ` ${line.replace(/\s*\n\s*/g, ' ')}`).join('\n');
  return document.toString({ lineWidth: 120 });
}

/** A name as areas have it: lower-case letters, digits and hyphens, another than those in `taken`. */
export function areaName(text: string, taken: readonly string[]): string {
  const plain =
    text
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '') || 'area';
  for (let number = 1; ; number++) {
    const name = number === 1 ? plain : `${plain}-${number}`;
    if (!taken.includes(name)) return name;
  }
}

/** Where an area appears: begins with a slash and does not end in one. */
export function areaPath(accessPoint: string): string {
  return `/${accessPoint
    .split('/')
    .filter((part) => part !== '')
    .join('/')}`;
}
