import type { Reporter, SerializedError, TestModule, TestSpecification } from 'vitest/node';

/** Files between two lines of progress where nobody watches a terminal. */
const STRIDE = 30;

/**
 * Says little while a run goes well, and names what failed in the last lines, where whoever keeps only the end of an
 * output finds it. Stands behind a reporter that prints the failures themselves.
 */
export default class TestReport implements Reporter {
  private files = 0;
  private ended = 0;
  private failed = 0;
  private readonly begun = performance.now();

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.files = specifications.length;
  }

  onTestModuleEnd(module: TestModule): void {
    this.ended += 1;
    if (module.state() === 'failed') this.failed += 1;
    if (process.stdout.isTTY || this.ended % STRIDE !== 0) return;
    const seconds = Math.round((performance.now() - this.begun) / 1000);
    console.log(`${this.ended} of ${this.files} test files after ${seconds} s, ${this.failed} failed`);
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const lines = modules.flatMap(failuresOf);
    for (const { message } of unhandled) lines.push(`outside of any test: ${firstLine(message)}`);
    if (lines.length > 0) console.log(`\nFailed:\n${lines.map((line) => `  ${line}`).join('\n')}`);
  }
}

function failuresOf(module: TestModule): string[] {
  const where = module.relativeModuleId;
  const outside = [
    ...module.errors(),
    ...[...module.children.allSuites()].flatMap((suite) => suite.errors()),
  ];
  return [
    ...outside.map(({ message }) => `${where}: ${firstLine(message)}`),
    ...[...module.children.allTests('failed')].map(
      (test) => `${where} > ${test.fullName}: ${firstLine(test.result().errors?.[0]?.message ?? '')}`,
    ),
  ];
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0]?.slice(0, 200) ?? '';
}
