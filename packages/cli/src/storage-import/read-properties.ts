/** Java's properties, as far as files that people write use them: `key=value`, comments, lines that go on after `\`. */
export function parseProperties(text: string): Map<string, string> {
  const values = new Map<string, string>();
  const joined = text.replace(/\\\r?\n\s*/g, '');
  for (const line of joined.split(/\r?\n/)) {
    if (/^\s*([#!]|$)/.test(line)) continue;
    const [, key, value = ''] = /^\s*([^=:\s]+)\s*[=:\s]?\s*(.*?)\s*$/.exec(line) ?? [];
    if (key !== undefined) values.set(key, value);
  }
  return values;
}
