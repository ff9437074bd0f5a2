// `npm run soak -- PART…`: the long runs of the tests that search for faults by chance and by load, all parts or some.
import { spawnSync } from 'node:child_process'
import { filesOf } from './soak-parts.js'

let files
try {
  files = filesOf(process.argv.slice(2))
} catch (error) {
  console.error(`soak: ${error.message}`)
  process.exit(1)
}
const env = { ...process.env, SOAK: '1' }
const { status } = spawnSync('npx', ['vitest', 'run', ...files], { stdio: 'inherit', env })
process.exit(status ?? 1)
