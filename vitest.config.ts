import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/fixtures/global-setup.ts'],
    // Threads of one process share what V8 compiles of PGlite; processes would compile it once for each file.
    pool: 'threads',
    // Files of one thread share its modules: loading them anew took a tenth of all time. What a file changes for good, it changes back.
    isolate: false,
    // A busy machine takes its time; only what never comes true takes so long.
    expect: { poll: { timeout: 10_000 } },
    testTimeout: 40_000,
    hookTimeout: 60_000,
    // Vitest leaves a core free, which on two cores would run one file after the other.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
})
