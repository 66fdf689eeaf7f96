import { defineConfig } from 'vitest/config';

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
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // `expect.poll` waits as long as a busy machine may need; what holds sooner returns sooner.
    expect: { poll: { timeout: 10_000 } },
  },
});
