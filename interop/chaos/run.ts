// npm run chaos [-- NAME...]: the long kill and fault runs, by component. Last line: `N passed, N failed, N skipped`.
import { globSync } from 'node:fs';
import path from 'node:path';

/** A run that breaks things on purpose and checks what must hold. Prints what it killed and how often. */
export interface ChaosRun {
  readonly name: string;
  run(report: ChaosReport): Promise<void>;
}

export interface ChaosReport {
  /** Counts one promise that was checked. */
  check(name: string, holds: boolean, detail?: string): void;
  note(text: string): void;
}

const names = process.argv.slice(2).filter((name) => name !== '--');
const runs: ChaosRun[] = [];
for (const file of globSync('*.chaos.ts', { cwd: import.meta.dirname }).sort()) {
  const { default: run }: { default: ChaosRun } = await import(path.join(import.meta.dirname, file));
  runs.push(run);
}
const chosen = runs.filter(({ name }) => names.length === 0 || names.includes(name));
if (chosen.length === 0) {
  console.error(`chaos: no run ${names.join(', ')}. Runs: ${runs.map(({ name }) => name).join(', ')}.`);
  process.exit(64);
}
const counts = { passed: 0, failed: 0 };
for (const { name, run } of chosen) {
  console.log(`\n${name}`);
  const report: ChaosReport = {
    check(what, holds, detail) {
      counts[holds ? 'passed' : 'failed'] += 1;
      console.log(`  ${holds ? '✓' : '✗'} ${what}${detail === undefined ? '' : `  ${detail}`}`);
    },
    note: (text) => console.log(`    ${text}`),
  };
  try {
    await run(report);
  } catch (error) {
    report.check('the run itself', false, error instanceof Error ? error.stack : String(error));
  }
}
console.log(`${counts.passed} passed, ${counts.failed} failed, 0 skipped`);
process.exit(counts.failed > 0 ? 1 : 0);
