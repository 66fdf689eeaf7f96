import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createEventParser, type EventFrame } from './parse-event-stream.ts';

const parseAll = (text: string): EventFrame[] => createEventParser()(text);

test('reads frames, comments, several data lines and ids that stay', () => {
  const text =
    'retry: 2000\n\n: ping\n\nid: 7\nevent: rule.ok\ndata: {"a":1}\n\ndata: one\ndata:two\n\nevent: ready\ndata\n\n';
  expect(parseAll(text)).toEqual([
    { event: 'rule.ok', data: '{"a":1}', id: '7' },
    { event: 'message', data: 'one\ntwo', id: '7' },
    { event: 'ready', data: '', id: '7' },
  ]);
});

test('a new id without data is told as such; an unfinished frame is not told', () => {
  expect(parseAll(': ping\nid: 9\n\ndata: half')).toEqual([{ event: '', data: '', id: '9' }]);
});

test('gives the same frames however the text is cut, with any line ends', () => {
  const line = fc.constantFrom(
    'id: 1',
    'id: 22',
    'event: a',
    'data: x',
    'data: y: z',
    ': note',
    '',
    '',
    'odd',
    'data:',
  );
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 30 }),
      fc.constantFrom('\n', '\r\n', '\r'),
      fc.array(fc.nat(400), { maxLength: 8 }),
      (lines, end, cuts) => {
        const text = lines.map((part) => part + end).join('');
        // A lone CR at the very end may be half of CRLF: it is not read before more comes.
        const whole = parseAll(lines.map((part) => `${part}\n`).join(''));
        const parse = createEventParser();
        const places = [...new Set([0, ...cuts.map((cut) => cut % (text.length + 1)), text.length])].sort(
          (a, b) => a - b,
        );
        const pieces = places.slice(1).map((place, index) => text.slice(places[index], place));
        const frames = pieces.flatMap((piece) => parse(piece));
        if (end === '\r') expect(whole.slice(0, frames.length)).toEqual(frames);
        else expect(frames).toEqual(whole);
      },
    ),
  );
});

test('an endless frame is an error, not a full memory', () => {
  const parse = createEventParser();
  const mebibyte = 'x'.repeat(1024 * 1024);
  expect(() => {
    for (let round = 0; round < 20; round++) parse(mebibyte);
  }).toThrow('larger than 16 MiB');
});
