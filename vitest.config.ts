import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/fixtures/global-setup.ts'],
    testTimeout: 40_000,
    hookTimeout: 60_000,
    // Vitest leaves a core free, which on two cores would run one file after the other.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
})
