import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'examples/*/test/**/*.test.ts',
      'interop/**/*.test.ts',
    ],
    // Two cores are the machine this is built for; each file may start a PostgreSQL of its own.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // `expect.poll` waits as long as a busy machine may need; what holds sooner returns sooner.
    expect: { poll: { timeout: 10_000 } },
  },
});
