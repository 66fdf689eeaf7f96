import { expect, test } from 'vitest';
import { formatFailure, formatMarker } from './markers.ts';

test('a marker has the columns that davix counts', () => {
  const progress = { bytes: 2097152, connections: ['tcp:[2001:db8::7]:443', 'tcp:192.0.2.5:443'] };
  expect(formatMarker(progress, new Date(1795347501_000))).toBe(
    'Perf Marker\nTimestamp: 1795347501\nStripe Index: 0\nStripe Bytes Transferred: 2097152\nTotal Stripe Count: 1\nRemoteConnections: tcp:[2001:db8::7]:443,tcp:192.0.2.5:443\nEnd\n',
  );
});

test('no line of a marker is too long for davix, however many connections there are', () => {
  const connections = Array.from(
    { length: 100 },
    (_, index) => `tcp:[2001:db8:1234:5678:9abc:def0:1234:5678]:${index}`,
  );
  const lines = formatMarker({ bytes: 0, connections }, new Date(0)).split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(1024);
});

test('a failure is one short line without control characters and without secrets', () => {
  expect(
    formatFailure('GET https://h/p answered 500\r\nno\u0000\u001b[31m\u0085 Bearer abcdefghijkl\n'),
  ).toBe('failure: GET https://h/p answered 500 no [31m Bearer ***\n');
  expect(formatFailure('x'.repeat(5000)).length).toBeLessThan(1000);
});
