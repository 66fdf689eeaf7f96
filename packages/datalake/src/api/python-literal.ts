import { WeftError } from '@weft/kernel/errors';

const LONGEST = 64 * 1024;
const DEEPEST = 8;

/**
 * Reads a Python literal: strings, numbers, booleans, None, lists, tuples, dictionaries. The real client sends search
 * filters as `repr` of a list (brief rucio-api 2.3); JSON is a subset for all that matters here. Bounded in size and depth.
 *
 * @example parsePythonLiteral(`[{'name': 'run7*', 'run_number.gte': 3}]`)
 * @throws {WeftError} `invalid`, code `DIDFilterSyntaxError`.
 */
export function parsePythonLiteral(text: string): unknown {
  if (text.length > LONGEST) throw unreadable(LONGEST);
  let position = 0;

  const skipBlanks = () => {
    while (/\s/.test(text[position] ?? '')) position += 1;
  };
  const take = (character: string): boolean => {
    skipBlanks();
    if (text[position] !== character) return false;
    position += 1;
    return true;
  };

  const value = (depth: number): unknown => {
    if (depth > DEEPEST) throw unreadable(position);
    skipBlanks();
    const character = text[position];
    if (character === '[' || character === '(') {
      position += 1;
      return list(character === '[' ? ']' : ')', depth);
    }
    if (character === '{') {
      position += 1;
      return dictionary(depth);
    }
    if (character === "'" || character === '"') return string();
    const word = /[A-Za-z]+|[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?/y;
    word.lastIndex = position;
    const found = word.exec(text)?.[0];
    if (found === undefined) throw unreadable(position);
    const start = position;
    position += found.length;
    if (Object.hasOwn(WORDS, found)) return WORDS[found];
    const number = Number(found);
    if (/^[A-Za-z]/.test(found) || Number.isNaN(number)) throw unreadable(start);
    return number;
  };

  const list = (end: string, depth: number): unknown[] => {
    const items: unknown[] = [];
    while (!take(end)) {
      items.push(value(depth + 1));
      if (!take(',') && text[position] !== end) throw unreadable(position);
    }
    return items;
  };

  const dictionary = (depth: number): Record<string, unknown> => {
    const entries: [string, unknown][] = [];
    while (!take('}')) {
      skipBlanks();
      const quote = text[position];
      if (quote !== "'" && quote !== '"') throw unreadable(position);
      const key = string();
      if (!take(':')) throw unreadable(position);
      entries.push([key, value(depth + 1)]);
      if (!take(',') && text[position] !== '}') throw unreadable(position);
    }
    return Object.fromEntries(entries);
  };

  const string = (): string => {
    const quote = text[position];
    position += 1;
    let read = '';
    for (;;) {
      const character = text[position];
      if (character === undefined || character === '\n') throw unreadable(position);
      position += 1;
      if (character === quote) return read;
      read += character === '\\' ? escaped() : character;
    }
  };

  const escaped = (): string => {
    const character = text[position] ?? '';
    position += 1;
    const digits = { x: 2, u: 4, U: 8 }[character];
    if (digits !== undefined) {
      const hex = text.slice(position, position + digits);
      const code = Number.parseInt(hex, 16);
      if (!/^[0-9a-fA-F]+$/.test(hex) || hex.length < digits || code > 0x10ffff) throw unreadable(position);
      position += digits;
      return String.fromCodePoint(code);
    }
    const simple = ESCAPES[character];
    if (simple === undefined) throw unreadable(position);
    return simple;
  };

  const parsed = value(0);
  skipBlanks();
  if (position < text.length) throw unreadable(position);
  return parsed;
}

const WORDS: Readonly<Record<string, unknown>> = {
  True: true,
  False: false,
  None: null,
  true: true,
  false: false,
  null: null,
};
const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  "'": "'",
  '"': '"',
  '/': '/',
  n: '\n',
  t: '\t',
  r: '\r',
  b: '\b',
  f: '\f',
};

function unreadable(position: number): WeftError {
  return new WeftError(
    'invalid',
    'DIDFilterSyntaxError',
    `The filters can not be read at character ${position + 1}.`,
  );
}
