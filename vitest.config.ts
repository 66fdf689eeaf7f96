import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** By the time they take, longest first: begun last, each of them would keep one core waiting for the other. */
const SLOW = [
  'packages/cli/test/path.test.ts',
  'packages/cli/test/instance-life.test.ts',
  'packages/compute/test/sandbox.test.ts',
  'packages/cli/test/commands.test.ts',
  'packages/kernel/test/embedded-postgres.test.ts',
  'packages/kernel/test/chaos.test.ts',
  'packages/compute/test/kill.test.ts',
  'packages/orchestrator/test/reliability.test.ts',
  'packages/transfer/test/recovery.test.ts',
  'packages/storage/test/tape-crash.test.ts',
  'packages/kernel/test/work.test.ts',
  'packages/storage/test/crash-events.test.ts',
  'packages/kernel/test/kill.test.ts',
  'packages/kernel/test/follow-restart.test.ts',
  'packages/orchestrator/test/workflow.test.ts',
  'packages/compute/test/staging.test.ts',
  'packages/compute/test/interlink.test.ts',
  'examples/drought-twin/test/payload.test.ts',
];

class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const known = SLOW.findIndex((name) => moduleId.endsWith(`/${name}`));
      return known < 0 ? SLOW.length : known;
    };
    return (await super.sort(files)).sort((one, other) => place(one) - place(other));
  }
}

const shuffled = process.argv.some((argument) => argument.startsWith('--sequence.shuffle'));

export default defineConfig({
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'examples/*/test/**/*.test.ts',
      'interop/**/*.test.ts',
    ],
    // One PostgreSQL for the whole run, with a database for each file.
    globalSetup: ['packages/kernel/test/shared-server.ts'],
    // Two cores are the machine this is built for.
    maxWorkers: 2,
    ...(shuffled ? {} : { sequence: { sequencer: SlowFirst } }),
    // No test may fail because a machine is slow: these limits end what hangs, they are no part of what is promised.
    // What holds sooner returns sooner.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    reporters: [process.stdout.isTTY ? 'default' : 'minimal', './scripts/test-report.ts'],
  },
});
