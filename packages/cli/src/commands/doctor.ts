import { locateDataFolder } from '../data-folder.ts';
import { examine, type Finding } from '../examine-machine.ts';

const MARKS: Readonly<Record<Finding['state'], string>> = {
  good: 'ok     ',
  note: 'note   ',
  bad: 'mend   ',
};

/** `weft doctor`: what this machine has and lacks, and how to mend it. Ends with 69 when something would fail. */
export async function doctor(options: { data: string; portBase?: number; json?: boolean }): Promise<void> {
  const findings = await examine(locateDataFolder(options.data), options.portBase);
  printFindings(findings, options, 'This machine can run Weft.');
}

/** Prints findings with their mends, and sets the exit code: 69 when one of them is bad. */
export function printFindings(
  findings: readonly Finding[],
  options: { json?: boolean },
  allGood: string,
): void {
  const sound = findings.every(({ state }) => state !== 'bad');
  process.exitCode = sound ? 0 : 69;
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ sound, findings }, null, 2)}\n`);
    return;
  }
  const width = Math.max(...findings.map(({ name }) => name.length));
  for (const { name, state, found, mend } of findings) {
    process.stdout.write(`${MARKS[state]} ${name.padEnd(width)}  ${found}\n`);
    if (mend !== undefined && state !== 'good') process.stdout.write(`${' '.repeat(10 + width)}${mend}\n`);
  }
  process.stdout.write(sound ? `${allGood}\n` : 'Something must be mended first.\n');
}
