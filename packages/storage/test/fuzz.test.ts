import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { METHODS } from '../src/api/methods.ts';
import { startTestSite, type TestDoor, type TestSite, unfinished } from './start-door.ts';

let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
  mkdirSync(join(site.folder, 'areas/outside'));
  writeFileSync(join(site.folder, 'areas/outside/secret'), 'secret');
});
afterAll(async () => await site.stop());

const RUNS = Number(process.env.WEFT_FUZZ_RUNS ?? 400);

const component = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom('a', 'b', 'outside', 'secret', '.weft-staging', '.weft', 'a b', 'ü'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '..',
      '.',
      '%2e%2e',
      '%2E.',
      '%2f',
      '%00',
      '%',
      '%5c',
      '..%2f..',
      '%c0%ae',
      ';',
      '%252e%252e',
      '',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({
      unit: fc.constantFrom('~', '%', 'é', '+', '#', '?', '&', '"', '\\', 'x'),
      maxLength: 5,
    }),
  },
);
const target = fc
  .array(component, { maxLength: 5 })
  .map((parts) =>
    `/${parts.join('/')}`.replace(/[^\x21-\x7e]/g, (character) => encodeURIComponent(character)),
  );
const odd = fc.constantFrom(
  '',
  '0',
  '1',
  '-1',
  'infinity',
  'T',
  'F',
  '*',
  '"x"',
  'W/"x"',
  'bytes=0-',
  'bytes=-0,0-0',
  'bytes 0-0/*',
  'bytes=1-3/*',
  'bytes 0-99999999999999999/*',
  'trailers',
  'true',
  'x=y',
  '(<a>)',
  '(Not <DAV:no-lock>)',
  '<>',
  'adler32=0',
  'md5=',
  'Second-0',
  'Infinite',
  ',,,',
  '9'.repeat(30),
);
const headers = fc.dictionary(
  fc.constantFrom(
    'range',
    'depth',
    'destination',
    'overwrite',
    'if',
    'if-match',
    'if-none-match',
    'if-range',
    'if-modified-since',
    'want-digest',
    'want-repr-digest',
    'digest',
    'repr-digest',
    'content-md5',
    'oc-checksum',
    'timeout',
    'lock-token',
    'source',
    'credential',
    'x-oc-mtime',
    'content-range',
    'accept',
    'x-number-of-streams',
    'requirechecksumverification',
    'transferheader',
    'x-expected-entity-length',
    'x-transfer-status',
    'te',
    'origin',
    'access-control-request-method',
  ),
  fc.oneof(odd, target),
  { maxKeys: 5 },
);
const xml = fc.constantFrom(
  'propfind',
  'prop',
  'allprop',
  'propname',
  'set',
  'remove',
  'propertyupdate',
  'lockinfo',
  'lockscope',
  'exclusive',
  'shared',
  'locktype',
  'write',
  'owner',
  'x',
);
const body = fc.option(
  fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom(
      '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
      '<a xmlns:b=""><b:c/></a>',
      '<propertyupdate xmlns="DAV:"><set><prop><getlastmodified>9999999999999</getlastmodified></prop></set></propertyupdate>',
      '<propertyupdate xmlns="DAV:"><set><prop><getlastmodified>-1</getlastmodified><x xmlns="y">&#x10ffff;</x></prop></set></propertyupdate>',
      '<propertyupdate xmlns="DAV:"><remove><prop><displayname/><x xmlns="y"/></prop></remove></propertyupdate>',
      '<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype><owner>&lt;&#0;</owner></lockinfo>',
    ),
    fc.array(xml, { minLength: 1, maxLength: 4 }).map(
      (names) =>
        `${names.map((name, index) => `<${name}${index === 0 ? ' xmlns="DAV:"' : ''}>`).join('')}${names
          .toReversed()
          .map((name) => `</${name}>`)
          .join('')}`,
    ),
  ),
  { nil: undefined },
);

it('answers whatever comes, with no 5xx but those that WebDAV means, and touches nothing outside', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...METHODS, 'POST', 'PATCH', 'TRACE'),
      target,
      headers,
      body,
      async (method, path, sent, content) => {
        const answer = await door.call(method, path, {
          headers: sent,
          ...(content === undefined ? {} : { body: content }),
        });
        // 502: the destination is another server (RFC 4918 section 9.9.4), or a copy's source refuses.
        if (answer.status >= 500 && answer.status !== 502) {
          throw new Error(
            `${method} ${path} ${JSON.stringify(sent)} ${content}: ${answer.status} ${answer.text}`,
          );
        }
        expect(answer.text).not.toContain('secret\n');
      },
    ),
    { numRuns: RUNS },
  );
  expect(readdirSync(join(site.folder, 'areas')).toSorted()).toEqual(['observatory', 'outside']);
  expect(readFileSync(join(site.folder, 'areas/outside/secret'), 'utf8')).toBe('secret');
  expect(unfinished(door.root)).toEqual([]);
  // It has not come to harm.
  expect((await door.call('PUT', '/after', { body: 'Wikipedia' })).status).toBeLessThan(300);
  expect((await door.call('GET', '/after')).text).toBe('Wikipedia');
}, 120_000);
