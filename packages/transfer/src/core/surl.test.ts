import { expect, test } from 'vitest';
import { httpUrl, parseSurl, redactQuery } from './surl.ts';

test('a storage is named by scheme and host, lower case and without its port', () => {
  expect(parseSurl(' davs://SE.example:8443/data//a%20b ')).toEqual({
    text: 'davs://SE.example:8443/data//a%20b',
    storage: 'davs://se.example',
  });
  expect(parseSurl('https://[::1]:8443/f').storage).toBe('https://[::1]');
});

test.each([
  ['file:///etc/passwd', 'Can not transfer local files'],
  ['davs:///path', 'Missing host'],
  ['davs://host', 'Missing path'],
  ['davs://host/', 'Missing path'],
  ['//host/path', 'Missing scheme'],
  ['davs://user:password@host/path', 'User information'],
  ['davs://host:99999/path', 'Missing host'],
  ['davs://host/a\r\nX-Injected: 1', 'percent-encoded'],
  ['gsiftp://host/path', 'not supported'],
])('%s is refused', (surl, reason) => {
  expect(() => parseSurl(surl)).toThrow(reason);
});

test('queries do not reach messages', () => {
  expect(redactQuery('GET https://a/b?authz=secret failed')).toBe('GET https://a/b?<redacted> failed');
  expect(httpUrl('davs://a/b?x=1')).toBe('https://a/b?x=1');
});
