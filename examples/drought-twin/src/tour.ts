import { writeFileSync } from 'node:fs';

/** The components that a step of the tour can fail at. */
export type Component =
  | 'identity'
  | 'storage'
  | 'datalake'
  | 'orchestrator'
  | 'transfer'
  | 'compute'
  | 'accounting';

interface Check {
  readonly name: string;
  readonly component: Component;
  readonly passed: boolean;
  readonly detail: string;
}

interface StepReport {
  readonly number: number;
  readonly title: string;
  readonly seconds: number;
  readonly checks: readonly Check[];
}

/** What a step does its work and its checks through. */
export interface Step {
  /** A line for the reader: what was done, not a claim that is checked. */
  note(line: string): void;
  /** A claim. A false one is counted and named, and the tour goes on within the step. */
  check(name: string, passed: boolean, detail?: string, component?: Component): void;
  equal(name: string, actual: unknown, expected: unknown, component?: Component): void;
}

export interface Tour {
  /**
   * Runs a step, unless one before it broke off. An exception ends the tour as a failure of `component`; it is the one that
   * the step is about, and whose log has the rest.
   */
  step(title: string, component: Component, work: (step: Step) => Promise<void>): Promise<void>;
  /** Prints the last line and gives the exit code. */
  finish(): number;
}

export interface TourOptions {
  /** Number of the first step; what comes before it was done by whoever started the tour. */
  readonly firstStep: number;
  /** `./weft --data DIR` as it is typed, to name the log of a component. */
  readonly logCommand: (component: Component) => string;
  readonly jsonFile: string | undefined;
}

/** Tells a reader what happens, with times and ticks; and a script, with a last line and a file. */
export function createTour(options: TourOptions): Tour {
  const paint = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
  const green = (text: string) => (paint ? `\x1b[32m${text}\x1b[0m` : text);
  const red = (text: string) => (paint ? `\x1b[31m${text}\x1b[0m` : text);
  const bold = (text: string) => (paint ? `\x1b[1m${text}\x1b[0m` : text);
  const dim = (text: string) => (paint ? `\x1b[2m${text}\x1b[0m` : text);
  const print = (line: string) => process.stdout.write(`${line}\n`);

  const steps: StepReport[] = [];
  const startedAt = performance.now();
  let brokenOff = false;

  return {
    async step(title, component, work) {
      const number = options.firstStep + steps.length;
      const checks: Check[] = [];
      if (brokenOff) {
        print(dim(`${number}  ${title}: not tried`));
        steps.push({ number, title, seconds: 0, checks });
        return;
      }
      print(bold(`${number}  ${title}`));
      const began = performance.now();
      const clock = () => dim(`${secondsSince(began).padStart(6)} s`);

      const record = (check: Check) => {
        checks.push(check);
        const detail = check.detail === '' ? '' : `: ${check.detail}`;
        print(`   ${clock()}  ${check.passed ? green('✓') : red('✗')} ${check.name}${detail}`);
        if (!check.passed)
          print(
            red(
              `             step ${number}, ${check.component}; log: ${options.logCommand(check.component)}`,
            ),
          );
      };
      const step: Step = {
        note: (line) => print(`   ${clock()}    ${line}`),
        check: (name, passed, detail = '', of = component) => record({ name, component: of, passed, detail }),
        equal: (name, actual, expected, of = component) => {
          const passed = actual === expected;
          record({
            name,
            component: of,
            passed,
            detail: passed ? String(actual) : `${actual}, not ${expected}`,
          });
        },
      };
      try {
        await work(step);
      } catch (error) {
        brokenOff = true;
        const of = error instanceof StepFailure ? (error.component ?? component) : component;
        record({ name: title, component: of, passed: false, detail: describe(error) });
      }
      steps.push({ number, title, seconds: (performance.now() - began) / 1000, checks });
      print('');
    },

    finish() {
      const checks = steps.flatMap((step) => step.checks);
      const passed = checks.filter((check) => check.passed).length;
      const failed = checks.length - passed;
      if (options.jsonFile !== undefined) {
        const seconds = (performance.now() - startedAt) / 1000;
        writeFileSync(options.jsonFile, `${JSON.stringify({ passed, failed, seconds, steps }, null, 2)}\n`);
      }
      print(`${passed} passed, ${failed} failed`);
      return failed === 0 && passed > 0 ? 0 : 1;
    },
  };
}

/** Ends the tour; `component` says whose fault it is when it is not the one that the step is about. */
export class StepFailure extends Error {
  override readonly name = 'StepFailure';
  readonly component: Component | undefined;

  constructor(message: string, component?: Component) {
    super(message);
    this.component = component;
  }
}

function secondsSince(moment: number): string {
  return ((performance.now() - moment) / 1000).toFixed(2);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `: ${describe(error.cause)}`;
  return `${error.message}${error.message.includes(cause.slice(2)) ? '' : cause}`;
}
