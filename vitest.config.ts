import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Much of the time is waited for processes and databases, not spent computing: three keep two cores at work.
    maxWorkers: 3,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      // What only processes run is shown by test/e2e, where coverage does not reach.
      exclude: ['src/**/*.test.ts', 'src/cli/**', 'src/reach-database.ts', 'src/wallet-service/service.ts'],
      reporter: ['text-summary', 'json-summary'],
      thresholds: { lines: 90, 'src/core/**': { lines: 100 } },
    },
  },
})
