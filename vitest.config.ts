import { randomInt } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { BrowserReporter } from './test/browser/reporter.js'

// Optimised WebAssembly pays only in a database that runs for minutes; test/e2e/process.ts has the same flag for
// processes.
setFlagsFromString('--liftoff-only')

/**
 * Files whose tests start processes, of the built program (`dist`) or a PostgreSQL server of their own, open an
 * embedded database for each test, or open the built page. All other files run from the sources alone.
 */
const processFiles = ['test/{e2e,web}/**/*.test.ts', 'test/**/*.process.test.ts']

/**
 * Files that need no build and take a second or more for each few tests: large tables, many databases, real networks
 * and real shutdowns. They run beside the processes, so that `npm run test:fast` stays short.
 */
const slowFiles = [
  'test/interop/slow-networks.test.ts',
  'test/client/bridge/mcp/tool-client.test.ts',
  'test/server/routers/{conversations,mcp,watch}.test.ts',
  'test/server/control-plane/peers/relayed-parts.test.ts',
  'test/server/rpc/equality-of-links.test.ts',
  'test/server/services/chats/runner/{chat-runner,commands,takeover}.test.ts',
  'test/server/services/admin/{records/retention,secret-rotation}.test.ts',
  'test/server/store/pglite/embedded.test.ts',
  'test/server/store/plans.test.ts',
  'test/server/store/records/{erasure,feed,lineage,repeats}.test.ts',
  'test/soak/chats/sample.test.ts',
  'test/soak/transport/{drops,half-open,heap,lying-peers-over-tcp}.test.ts',
]

/** The seed of all random values of a run; test/fixtures/random.ts prints it if a test fails. */
const seed = process.env.TEST_SEED ?? String(randomInt(2 ** 31))

// Vitest leaves a core free, which on two cores would run one file after the other.
const cores = Math.max(2, availableParallelism() - 1)

function project(
  name: 'fast' | 'process',
  files: { include: string[]; exclude?: string[] },
  workers: { maxWorkers: number; sequence: { groupOrder: number } },
) {
  return {
    test: {
      name,
      ...workers,
      ...files,
      env: { TEST_SEED: seed },
      // Threads of one process share what V8 compiles of PGlite; processes would compile it once for each file.
      pool: 'threads',
      // Files of one thread share its modules: loading them again took a tenth of all time. A file restores what it
      // changes.
      isolate: false,
      // Only a condition that never comes true takes so long, also on a busy machine.
      expect: { poll: { timeout: 10_000 } },
      testTimeout: 40_000,
      hookTimeout: 60_000,
    },
  } satisfies TestProjectInlineConfiguration
}

export default defineConfig({
  test: {
    projects: [
      project(
        'fast',
        { include: ['test/**/*.test.ts'], exclude: [...processFiles, ...slowFiles] },
        { maxWorkers: cores, sequence: { groupOrder: 1 } },
      ),
      // A thread that waits for its processes leaves a core to another one.
      project(
        'process',
        { include: [...processFiles, ...slowFiles] },
        { maxWorkers: cores + 1, sequence: { groupOrder: 0 } },
      ),
    ],
    // Vitest's own summary comes last.
    reporters: [new BrowserReporter(), 'default'],
    globalSetup: ['test/fixtures/global-setup.ts'],
    // `npm run coverage`: of project fast, because the processes of the other one run the build. Untested files count
    // too.
    coverage: { include: ['client/**', 'server/**', 'shared/**'], reporter: ['text', 'html'] },
  },
})
