import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { toFileError } from './file-errors.ts';
import { MAXIMUM_GATHERED_BYTES } from './gathered-file.ts';
import { openLocalFiles } from './local-files.ts';

/** What fails next, and how; each once. */
const failing = vi.hoisted(() => new Map<string, string>());

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const failureOf = (name: string) => {
    const code = failing.get(name);
    if (code === undefined) return undefined;
    failing.delete(name);
    return Object.assign(new Error(code), { code });
  };
  return {
    ...fs,
    writeSync: (...args: Parameters<typeof fs.writeSync>) => {
      const failure = failureOf('write');
      if (failure) throw failure;
      return fs.writeSync(...args);
    },
    fdatasyncSync: (descriptor: number) => {
      const failure = failureOf('fsync');
      if (failure) throw failure;
      fs.fdatasyncSync(descriptor);
    },
    closeSync: (descriptor: number) => {
      fs.closeSync(descriptor);
      const failure = failureOf('close');
      if (failure) throw failure;
    },
  };
});

vi.mock('./descriptors.ts', async (original) => {
  const descriptors = await original<typeof import('./descriptors.ts')>();
  const failOr = async <Result>(name: string, work: () => Promise<Result>): Promise<Result> => {
    const code = failing.get(name);
    if (code === undefined) return work();
    failing.delete(name);
    if (name === 'close') await work();
    throw Object.assign(new Error(code), { code });
  };
  return {
    ...descriptors,
    writeAt: (...args: Parameters<typeof descriptors.writeAt>) =>
      failOr('write', () => descriptors.writeAt(...args)),
    syncFileData: (descriptor: number) => failOr('fsync', () => descriptors.syncFileData(descriptor)),
    closeDescriptor: (descriptor: number) => failOr('close', () => descriptors.closeDescriptor(descriptor)),
  };
});

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'weft-full-'));
  writeFileSync(join(root, 'f'), 'before');
});
afterEach(() => {
  failing.clear();
  rmSync(root, { recursive: true, force: true });
});

describe.each(['ENOSPC', 'EDQUOT'])('%s', (code) => {
  it.each(['write', 'fsync', 'close'])(
    'at %s leaves nothing of a small or large file, and what was there as it was',
    async (step) => {
      const files = await openLocalFiles({ root, durability: 'data', umask: 0o027, inline: true });
      for (const bytes of [10, MAXIMUM_GATHERED_BYTES + 1]) {
        const staged = await files.stage(bytes);
        const store = async () => {
          await staged.write(Buffer.alloc(bytes), 0);
          await staged.commit(['f'], { replace: true });
        };
        failing.set(step, code);
        const failure = await store().catch(async (error: unknown) => {
          if (bytes > MAXIMUM_GATHERED_BYTES && step === 'write') await staged.discard();
          return toFileError(error);
        });
        expect(failure).toMatchObject({ kind: 'exhausted', code: 'insufficient-storage' });
        expect(failing.size).toBe(0);
        expect(readFileSync(join(root, 'f'), 'utf8')).toBe('before');
        expect(readdirSync(join(root, '.weft-staging'))).toEqual([]);
      }
      await files.close();
    },
  );
});

it('what the kernel says is told in the words of WebDAV: full is 507, stale and busy 503, an I/O error 500', () => {
  const kindOf = (code: string) => {
    const known = toFileError(Object.assign(new Error(code), { code }));
    return known && typeof known === 'object' && 'kind' in known ? known.kind : 'unexpected';
  };
  const kinds = Object.fromEntries(
    ['ENOSPC', 'EDQUOT', 'ESTALE', 'EBUSY', 'EAGAIN', 'EMFILE', 'EIO', 'EROFS', 'ENAMETOOLONG', 'EFBIG'].map(
      (code) => [code, kindOf(code)],
    ),
  );
  expect(kinds).toEqual({
    ENOSPC: 'exhausted',
    EDQUOT: 'exhausted',
    ESTALE: 'unavailable',
    EBUSY: 'unavailable',
    EAGAIN: 'unavailable',
    EMFILE: 'unavailable',
    EIO: 'unexpected',
    EROFS: 'forbidden',
    ENAMETOOLONG: 'invalid',
    EFBIG: 'too-large',
  });
});
