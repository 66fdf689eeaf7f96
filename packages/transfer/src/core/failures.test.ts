import { expect, test } from 'vitest';
import { errnoOfStatus, isRecoverable, TransferFailure } from './failures.ts';

test('a reason names the side, the number and the words, on one line and without secrets', () => {
  const failure = new TransferFailure(
    'DESTINATION',
    'EEXIST',
    'Destination file exists and overwrite is not enabled',
  );
  expect(failure.reason).toBe('DESTINATION [17] Destination file exists and overwrite is not enabled');
  const noisy = new TransferFailure('SOURCE', 'EIO', 'GET https://a/b?authz=secret\r\nX-Injected: yes\u0000');
  expect(noisy.reason).toBe('SOURCE [5] GET https://a/b?<redacted> X-Injected: yes');
  expect(new TransferFailure('SOURCE', 'EIO', 'x'.repeat(5000)).reason).toHaveLength(2048);
});

test.each([
  ['TRANSFER', 'ECANCELED', 'performance marker', false],
  ['SOURCE', 'ETIMEDOUT', 'whatever', true],
  ['SOURCE', 'ENOENT', 'Connection timed out', true],
  ['TRANSFER', 'EIO', 'Source and destination ADLER32 checksum do not match (a != b)', false],
  ['SOURCE', 'ENOENT', 'gone', false],
  ['DESTINATION', 'ENOENT', 'parent missing', true],
  ['TRANSFER', 'ENOSPC', 'full', false],
  ['DESTINATION', 'EHOSTDOWN', 'HTTP 500', true],
] as const)('%s %s "%s": worth another attempt is %s', (scope, errno, text, expected) => {
  expect(isRecoverable(scope, errno, text)).toBe(expected);
});

test('statuses of storages have the meaning that this field gives them', () => {
  expect([401, 403, 404, 409, 412, 423, 501, 503, 504, 507].map(errnoOfStatus)).toEqual([
    'EACCES',
    'EPERM',
    'ENOENT',
    'ENOENT',
    'EEXIST',
    'EBUSY',
    'ENOSYS',
    'EHOSTDOWN',
    'ETIMEDOUT',
    'ENOSPC',
  ]);
});
