import { WeftError } from '@weft/kernel/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSubmission } from './parse-submission.ts';

const limits = { maximumFiles: 100, now: new Date('2026-01-01T00:00:00Z') };
const file = { sources: ['davs://a/f'], destinations: ['davs://b/f'] };
const parse = (params: object, changes: object = {}) =>
  parseSubmission({ files: [{ ...file, ...changes }], params }, limits);

test('whatever is sent, it is understood or refused as invalid, never anything else', () => {
  const keys = fc.constantFrom(
    ...[
      'sources',
      'destinations',
      'metadata',
      'filesize',
      'checksum',
      'activity',
      'source_tokens',
      'destination_tokens',
    ],
    ...['scitag', 'selection_strategy', 'staging_metadata'],
  );
  const parameters = fc.constantFrom(
    ...[
      'verify_checksum',
      'overwrite',
      'retry',
      'priority',
      'max_time_in_queue',
      'job_metadata',
      'multihop',
      'reuse',
      'sid',
    ],
    ...['id_generator', 'timeout', 'ipv4', 'archive_timeout'],
  );
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('davs://a/f', ['davs://a/f'], ['davs://b/g', 'https://c/h'], true, 3),
  );
  const body = fc.record({
    files: fc.oneof(fc.jsonValue(), fc.array(fc.dictionary(keys, value), { maxLength: 3 })),
    params: fc.oneof(fc.constant(undefined), fc.dictionary(parameters, value)),
  });
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), body), (input) => {
      try {
        const { files, priority } = parseSubmission(input, limits);
        expect(files.length).toBeGreaterThan(0);
        expect(priority).toBeGreaterThanOrEqual(1);
        expect(priority).toBeLessThanOrEqual(5);
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        expect(error.kind).toBe('invalid');
      }
    }),
    { numRuns: 500 },
  );
});

describe('verify_checksum', () => {
  test.each([
    [undefined, undefined, 'n'],
    [undefined, 'ADLER32:1', 't'],
    [false, 'ADLER32:1', 't'],
    [true, undefined, 'b'],
    ['both', undefined, 'b'],
    ['source', undefined, 's'],
    ['target', undefined, 't'],
    ['none', 'ADLER32:1', 'n'],
    ['n', 'ADLER32:1', 'n'],
  ])('%s with checksum %s means %s', (verify, checksum, mode) => {
    expect(parse({ verify_checksum: verify }, { checksum }).verifyChecksum).toBe(mode);
  });
});

describe('max_time_in_queue', () => {
  test.each([
    [0, null],
    [null, null],
    [2, '2026-01-01T02:00:00.000Z'],
    ['30s', '2026-01-01T00:00:30.000Z'],
    ['10m', '2026-01-01T00:10:00.000Z'],
    ['4h', '2026-01-01T04:00:00.000Z'],
    ['2d', '2026-01-03T00:00:00.000Z'],
  ])('%s', (given, deadline) => {
    expect(parse({ max_time_in_queue: given }).queueDeadline?.toISOString() ?? null).toBe(deadline);
  });
});

test('overwrite flags become one letter', () => {
  expect(parse({}).overwriteFlag).toBeNull();
  expect(parse({ overwrite: true }).overwriteFlag).toBe('Y');
  expect(parse({ overwrite_on_retry: true }).overwriteFlag).toBe('R');
  expect(parse({ overwrite_hop: true, multihop: true }).overwriteFlag).toBe('M');
  expect(parse({ overwrite_when_only_on_disk: true, archive_timeout: 1 }).overwriteFlag).toBe('D');
});
