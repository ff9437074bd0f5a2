/** The user's way to run this program, so that a printed command works after pasting. */
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { type Address, defaultAddress } from '../config/settings.js'

/**
 * Returns `aibridge` for an installation on the PATH, `npx aibridge` in a project that depends on the package, else
 * `node` and the path of the program: relative if below the working directory, as in a clone.
 */
export function invocation(
  program = process.argv[1] ?? '',
  cwd = process.cwd(),
  path = process.env.PATH ?? '',
): string {
  if (program === join(cwd, 'node_modules/.bin/aibridge')) return 'npx aibridge'
  if (program.endsWith('/aibridge')) {
    // npx puts its own directories on the PATH, for the time of one command only.
    const lasting = path.split(delimiter).filter(directory => !directory.includes('node_modules'))
    return lasting.includes(dirname(program)) ? 'aibridge' : shellWord(program)
  }
  const file = relative(cwd, resolve(cwd, program))
  return `node ${shellWord(file.startsWith('..') ? resolve(cwd, program) : file)}`
}

/** Returns the flags that lead a command to this address, each after a space; none for the default address. */
export function addressFlags({ dataDir, host, port }: Address): string {
  return [
    dataDir === defaultAddress.dataDir ? '' : ` --data ${shellWord(dataDir)}`,
    host === defaultAddress.host ? '' : ` --host ${shellWord(host)}`,
    port === defaultAddress.port ? '' : ` --port ${port}`,
  ].join('')
}

/** Returns a word in the form that a POSIX shell reads back. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
