import { expect, test } from 'vitest';
import { digestOf, normalise, parseChecksum } from './checksums.ts';

test('the spellings of one checksum are equal', () => {
  expect(normalise('ADLER32', 'A1B2C3D')).toBe('0a1b2c3d');
  expect(normalise('adler32', '0a1b2c3d')).toBe('0a1b2c3d');
  expect(normalise('md5', '1B2M2Y8AsgTpgAmY7PhCfg==')).toBe('d41d8cd98f00b204e9800998ecf8427e');
  expect(normalise('md5', 'D41D8CD98F00B204E9800998ECF8427E')).toBe('d41d8cd98f00b204e9800998ecf8427e');
});

test('a Digest header may hold several algorithms in any case', () => {
  const header = 'ADLER32=a1b2c3d, md5=1B2M2Y8AsgTpgAmY7PhCfg==';
  expect(digestOf(header, 'adler32')).toBe('0a1b2c3d');
  expect(digestOf(header, 'md5')).toBe('d41d8cd98f00b204e9800998ecf8427e');
  expect(digestOf(header, 'crc32')).toBeUndefined();
  expect(digestOf(null, 'adler32')).toBeUndefined();
});

test('what a user gives is split into algorithm and value', () => {
  expect(parseChecksum('ADLER32:0A1B2C3D')).toEqual({ algorithm: 'adler32', value: '0a1b2c3d' });
  expect(parseChecksum('ADLER32')).toEqual({ algorithm: 'adler32', value: '' });
});
