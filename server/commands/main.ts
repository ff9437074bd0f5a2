/** Runs the words of the process as a command, and ends the process with the command's exit code. */
import { runCommandLine } from './command-line.js'

// A reader that stops early, such as `head`, is no failure.
process.stdout.on('error', error => {
  if (Reflect.get(error, 'code') !== 'EPIPE') throw error
})

const exitCode = await runCommandLine(process.argv.slice(2))
// A failed start may leave a socket or a timer that keeps the process alive. This write ends after all others.
if (exitCode !== 0) process.stdout.write('', () => process.exit(exitCode))
