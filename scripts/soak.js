// `npm run soak -- PART… [--OPTION VALUE]…`: the long runs of the tests that search for faults by chance and by load,
// all parts or some.
import { spawnSync } from 'node:child_process'
import { filesOf, variablesOf } from './soak-parts.js'

let files
let variables
try {
  const options = process.argv.slice(2).findIndex(word => word.startsWith('--'))
  const end = options < 0 ? process.argv.length : options + 2
  files = filesOf(process.argv.slice(2, end))
  variables = variablesOf(process.argv.slice(end))
} catch (error) {
  console.error(`soak: ${error.message}`)
  process.exit(1)
}
const env = { ...process.env, ...variables, SOAK: '1' }
const { status } = spawnSync('npx', ['vitest', 'run', ...files], { stdio: 'inherit', env })
process.exit(status ?? 1)
