import { fileURLToPath } from 'node:url'
import { build } from './build.js'

if (await build()) {
  const program = fileURLToPath(new URL('../dist/server/cli.js', import.meta.url))
  // Commands that the server prints name the program, not this script.
  process.argv.splice(1, 1, program, 'serve')
  await import(program)
} else {
  process.exitCode = 1
}
