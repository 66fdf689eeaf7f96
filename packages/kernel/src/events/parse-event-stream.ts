/** One frame of a `text/event-stream`; a frame with nothing but a new id has an empty `event`. */
export interface EventFrame {
  readonly event: string;
  readonly data: string;
  /** The last `id` seen so far, in this frame or an earlier one. */
  readonly id: string | undefined;
}

/** Largest frame; more is an error of the other side. */
const FRAME_CHARACTERS = 16 * 1024 * 1024;

/**
 * Reads server-sent events (WHATWG HTML, section 9.2.6) from text that comes in pieces.
 *
 * @example
 * const parse = createEventParser();
 * parse('id: 7\nevent: rule.ok\nda') // []
 * parse('ta: {}\n\n')                // [{ event: 'rule.ok', data: '{}', id: '7' }]
 */
export function createEventParser(): (text: string) => EventFrame[] {
  let rest = '';
  let first = true;
  let event = '';
  let data: string[] = [];
  let id: string | undefined;
  let lastId: string | undefined;

  return (text) => {
    if (first && text !== '') {
      first = false;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }
    rest += text;
    if (rest.length > FRAME_CHARACTERS) throw new Error('an event is larger than 16 MiB');
    const frames: EventFrame[] = [];
    for (;;) {
      const end = /\r\n|\n|\r/.exec(rest);
      // A lone CR at the end may be the first half of CRLF.
      if (end === null || (end[0] === '\r' && end.index === rest.length - 1)) return frames;
      const line = rest.slice(0, end.index);
      rest = rest.slice(end.index + end[0].length);
      if (line === '') {
        if (data.length > 0) {
          frames.push({ event: event === '' ? 'message' : event, data: data.join('\n'), id });
        } else if (id !== lastId) {
          frames.push({ event: '', data: '', id });
        }
        lastId = id;
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') event = value;
      else if (field === 'data') data.push(value);
      else if (field === 'id' && !value.includes('\0')) id = value;
    }
  };
}
