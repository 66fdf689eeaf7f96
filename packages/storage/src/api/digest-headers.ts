import type { IncomingMessage } from 'node:http';
import { ALGORITHMS, type Algorithm, type Digests } from '../core/checksums/digests.ts';
import { HEXADECIMAL, toAlgorithm } from '../core/checksums/stated-digests.ts';
import { header } from './exchange.ts';

/** What a request asks to be told about the content. `spelling` is the name under which the answer gives it. */
export interface WantedDigest {
  readonly algorithm: Algorithm;
  readonly spelling: string;
  readonly dialect: 'digest' | 'repr-digest';
}

/**
 * The one digest that a request prefers among those we have. `Want-Digest` (RFC 3230, weights from 0 to 1) goes before
 * `Want-Repr-Digest` (RFC 9530, 0 to 10). Unknown names are skipped, a value that cannot be read asks for nothing.
 */
export function wantedDigest(request: IncomingMessage): WantedDigest | undefined {
  const old = header(request, 'want-digest');
  if (old !== undefined) return prefer(old, /^([^;=\s]+)\s*(?:;\s*q\s*=\s*([\d.]+))?$/, 'digest');
  const current = header(request, 'want-repr-digest');
  return current === undefined ? undefined : prefer(current, /^([^;=\s]+)\s*=\s*(\d+)$/, 'repr-digest');
}

function prefer(list: string, item: RegExp, dialect: WantedDigest['dialect']): WantedDigest | undefined {
  let best: { wanted: WantedDigest; weight: number } | undefined;
  for (const part of list.split(',')) {
    const [, name, weightText = '1'] = item.exec(part.trim()) ?? [];
    const spelling = name?.toLowerCase();
    const algorithm = spelling === undefined ? undefined : toAlgorithm(spelling);
    const weight = Number(weightText);
    if (spelling === undefined || algorithm === undefined || !(weight > 0)) continue;
    if (!best || weight > best.weight) best = { wanted: { algorithm, spelling, dialect }, weight };
  }
  return best?.wanted;
}

/**
 * Headers that tell digests. Without a wish the adler32 that is known is told, as StoRM always does.
 *
 * @example printDigests({ adler32: '11e60398' }, undefined) // { digest: 'adler32=11e60398' }
 */
export function printDigests(digests: Digests, wanted: WantedDigest | undefined): Record<string, string> {
  if (!wanted) return digests.adler32 === undefined ? {} : { digest: `adler32=${digests.adler32}` };
  const value = digests[wanted.algorithm];
  if (value === undefined) return {};
  if (wanted.dialect === 'digest')
    return { digest: `${wanted.spelling}=${printValue(wanted.algorithm, value)}` };
  const name = wanted.algorithm === 'adler32' ? 'adler' : wanted.algorithm;
  return { 'repr-digest': `${name}=:${Buffer.from(value, 'hex').toString('base64')}:` };
}

/** Several digests in one value, joined without a blank: davix splits at the comma and does not trim. */
export function printDigestList(digests: Digests): string {
  return ALGORITHMS.flatMap((algorithm) => {
    const value = digests[algorithm];
    return value === undefined ? [] : [`${algorithm}=${printValue(algorithm, value)}`];
  }).join(',');
}

function printValue(algorithm: Algorithm, hex: string): string {
  return HEXADECIMAL.has(algorithm) ? hex : Buffer.from(hex, 'hex').toString('base64');
}
