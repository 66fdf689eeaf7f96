const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COLON = 0x3a;

/**
 * Whether a text that `JSON.parse` has accepted names a key twice in one object. `JSON.parse` keeps the last one where
 * another verifier may keep the first, so a token could mean two things (RFC 7515 section 4).
 */
export function hasDuplicateKeys(json: string): boolean {
  /** Keys seen in each open object; `undefined` for an open array. */
  const open: (Set<string> | undefined)[] = [];
  let lastString: string | undefined;
  for (let index = 0; index < json.length; index += 1) {
    switch (json.charCodeAt(index)) {
      case QUOTE: {
        const end = endOfString(json, index);
        lastString = json.slice(index, end + 1);
        index = end;
        break;
      }
      case COLON: {
        const keys = open.at(-1);
        if (keys === undefined || lastString === undefined) break;
        // Escapes can spell one key in several ways.
        const key: unknown = lastString.includes('\\') ? JSON.parse(lastString) : lastString.slice(1, -1);
        if (typeof key !== 'string' || keys.has(key)) return true;
        keys.add(key);
        break;
      }
      case OPEN_OBJECT:
        open.push(new Set());
        break;
      case OPEN_ARRAY:
        open.push(undefined);
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        open.pop();
        break;
      default:
    }
  }
  return false;
}

/** Index of the closing quote of the string that opens at `start`. */
function endOfString(json: string, start: number): number {
  let index = start + 1;
  while (json.charCodeAt(index) !== QUOTE) index += json.charCodeAt(index) === BACKSLASH ? 2 : 1;
  return index;
}
