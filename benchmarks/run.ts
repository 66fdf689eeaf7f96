// npm run bench [-- NAME...]: NAME is a benchmark or a component. Both sides of a comparison run interleaved in one process;
// medians and ratios are printed and written to benchmarks/results/<benchmark>.json.
import { globSync, mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import path from 'node:path';
import type { Benchmark } from './benchmark.ts';

const names = process.argv.slice(2).filter((name) => name !== '--');
const benchmarks: Benchmark[] = [];
for (const file of globSync('*.bench.ts', { cwd: import.meta.dirname }).sort()) {
  const { default: benchmark }: { default: Benchmark } = await import(path.join(import.meta.dirname, file));
  benchmarks.push(benchmark);
}
const chosen = benchmarks.filter(
  ({ name, component }) => names.length === 0 || names.includes(name) || names.includes(component),
);
if (chosen.length === 0) {
  console.error(
    `bench: no benchmark ${names.join(', ')}. Benchmarks: ${benchmarks.map(({ name }) => name).join(', ')}.`,
  );
  process.exit(64);
}

const results = path.join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
let failed = 0;
for (const benchmark of chosen) {
  console.log(`\n${benchmark.name} (${benchmark.component})`);
  try {
    const figures = await benchmark.run((text) => console.log(`    ${text}`));
    for (const { name, value, unit, target, better, peer, ratio } of figures) {
      const met =
        target === null
          ? ''
          : (better === 'higher' ? value >= target : value <= target)
            ? '  met'
            : '  MISSED';
      const against = ratio === null ? '' : `  ${ratio.toFixed(2)} times ${peer}`;
      const goal = target === null ? '' : `  target ${better === 'higher' ? '≥' : '≤'} ${target}`;
      console.log(`  ${name.padEnd(28)} ${format(value)} ${unit}${against}${goal}${met}`);
    }
    const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
    const file = path.join(results, `${benchmark.name}.json`);
    writeFileSync(file, `${JSON.stringify({ figures, machine, date: new Date().toISOString() }, null, 2)}\n`);
  } catch (error) {
    failed += 1;
    console.error(`  failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
process.exit(failed > 0 ? 1 : 0);

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
