/** Sections and keys as Python's `configparser` reads them, with `${Section:key}` filled in: keys in lower case. */
export interface Ini {
  readonly sections: readonly string[];
  /** Keys of a section, in order. */
  keys(section: string): readonly string[];
  get(section: string, key: string): string | undefined;
}

/** References into the session of a user, which stand for what is known only then. */
const AT_RUN_TIME: Readonly<Record<string, string>> = { 'current-user:username': '{username}' };
const MAXIMUM_DEPTH = 10;

/**
 * @example
 * parseIni('[A]\nRoot = /srv\n[B]\nPath = ${A:root}/x\n').get('B', 'path') // '/srv/x'
 */
export function parseIni(text: string): Ini {
  const sections = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  let last: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const header = /^\[([^\]]+)\]/.exec(line)?.[1];
    if (header !== undefined) {
      section = sections.get(header) ?? new Map();
      sections.set(header, section);
      last = undefined;
      continue;
    }
    // A line that is set in goes on with the value before it.
    if (/^\s/.test(line) && section && last !== undefined) {
      section.set(last, `${section.get(last)}\n${line.trim()}`);
      continue;
    }
    const [, key, value = ''] = /^\s*([^=:]+?)\s*[=:]\s*(.*?)\s*$/.exec(line) ?? [];
    if (section === undefined || key === undefined) continue;
    last = key.toLowerCase();
    section.set(last, value);
  }

  const fill = (value: string, own: string, depth: number): string =>
    value.replace(/\$\$|\$\{([^}]+)\}/g, (whole: string, reference?: string) => {
      if (reference === undefined) return '$';
      const known = AT_RUN_TIME[reference.toLowerCase()];
      if (known !== undefined) return known;
      const [first = '', second] = reference.split(':', 2);
      const [from, key] = second === undefined ? [own, first] : [first, second];
      const found = sections.get(from)?.get(key.toLowerCase());
      return found === undefined || depth > MAXIMUM_DEPTH ? whole : fill(found, from, depth + 1);
    });

  return {
    sections: [...sections.keys()],
    keys: (name) => [...(sections.get(name)?.keys() ?? [])],
    get(name, key) {
      const value = sections.get(name)?.get(key.toLowerCase());
      return value === undefined ? undefined : fill(value, name, 0);
    },
  };
}

/** `a, b`, or Python's `["a", "b"]` over several lines. */
export function splitList(value: string | undefined): string[] {
  return (value ?? '')
    .split(/[\s,[\]]+/)
    .map((item) => item.replace(/^["']|["']$/g, ''))
    .filter((item) => item !== '');
}
