import { createHash } from 'node:crypto';
import { WeftError } from '@weft/kernel/errors';
import type { DidName } from '../names.ts';

/** Where a file lies below the prefix of a deterministic RSE. Client and server must agree to the byte. */
type Lfn2Pfn = (did: DidName) => string;

const ALGORITHMS: Readonly<Record<string, Lfn2Pfn>> = {
  hash: hashPath,
  identity: ({ scope, name }) => `${scope}/${name}`,
  default: hashPath,
  def: hashPath,
};

/**
 * The path of a DID by the RSE's algorithm (brief rucio-api 3.8).
 *
 * @example pathOfDid('hash', { scope: 'test', name: 'f1' }) // 'test/a1/62/f1'
 */
export function pathOfDid(algorithm: string, did: DidName): string {
  const compute = ALGORITHMS[algorithm];
  if (!compute) {
    throw new WeftError(
      'invalid',
      'InvalidObject',
      `The RSE attribute lfn2pfn_algorithm '${algorithm}' is not known; use hash or identity.`,
    );
  }
  return compute(did);
}

function hashPath({ scope, name }: DidName): string {
  const digest = createHash('md5').update(`${scope}:${name}`).digest('hex');
  const folder = scope.startsWith('user') || scope.startsWith('group') ? scope.replaceAll('.', '/') : scope;
  return `${folder}/${digest.slice(0, 2)}/${digest.slice(2, 4)}/${name}`;
}
