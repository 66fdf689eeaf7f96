import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, it } from 'vitest';

it('the assembled kernel is the source beside it', async () => {
  // An old-style module whose export is a function that makes the assembler.
  const assemble: () => Promise<{
    parseWat(
      name: string,
      text: string,
      features: object,
    ): { toBinary(options: object): { buffer: Uint8Array } };
  }> = createRequire(import.meta.url)('wabt');
  const here = (name: string) => new URL(name, import.meta.url);
  const wabt = await assemble();
  const module = wabt.parseWat('adler32.wat', readFileSync(here('./adler32.wat'), 'utf8'), { simd: true });
  const assembled = Buffer.from(module.toBinary({}).buffer);
  expect(assembled.equals(readFileSync(here('./adler32.wasm')))).toBe(true);
});
