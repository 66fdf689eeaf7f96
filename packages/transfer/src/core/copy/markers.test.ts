import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMarkerReader } from './markers.ts';

const encoder = new TextEncoder();

function readAll(chunks: readonly Uint8Array[]) {
  const reader = createMarkerReader();
  return [...chunks.flatMap((chunk) => reader.read(chunk)), ...reader.end()];
}

const marker = (stripe: number, bytes: number) =>
  `Perf Marker\n    Timestamp: 1700000000\n    Stripe Index: ${stripe}\n    Stripe Bytes Transferred: ${bytes}\n    Total Stripe Count: 1\n    RemoteConnections: tcp:[::1]:28443\nEnd\n`;

test('markers give the bytes so far, the last line the verdict', () => {
  expect(readAll([encoder.encode(`${marker(0, 10)}${marker(0, 25)}success: Created`)])).toEqual([
    { kind: 'marker', bytes: 10 },
    { kind: 'marker', bytes: 25 },
    { kind: 'success' },
  ]);
});

test('a failure keeps the words of the storage', () => {
  expect(readAll([encoder.encode('failure: rejected GET: 403 Forbidden\n')])).toEqual([
    { kind: 'failure', text: 'failure: rejected GET: 403 Forbidden' },
  ]);
});

test('stripes are added up, and a count that goes backwards does not lower the sum', () => {
  expect(readAll([encoder.encode(marker(0, 10) + marker(1, 5) + marker(0, 3))])).toEqual([
    { kind: 'marker', bytes: 10 },
    { kind: 'marker', bytes: 15 },
    { kind: 'marker', bytes: 15 },
  ]);
});

test('however the text is cut into chunks, it reads the same', () => {
  const text = encoder.encode(`${marker(0, 1)}${marker(1, 200)}${marker(0, 77)}aborted: é ü 漢`);
  const whole = readAll([text]);
  fc.assert(
    fc.property(fc.array(fc.nat({ max: text.length }), { maxLength: 20 }), (cuts) => {
      const edges = [0, ...cuts.toSorted((a, b) => a - b), text.length];
      const chunks = edges.slice(1).map((edge, index) => text.subarray(edges[index], edge));
      expect(readAll(chunks)).toEqual(whole);
    }),
    { numRuns: 100 },
  );
});

test('any bytes at all are read without an error', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (chunks) => {
      for (const line of readAll(chunks))
        if (line.kind === 'marker') expect(line.bytes).toBeGreaterThanOrEqual(0);
    }),
    { numRuns: 200 },
  );
});
