/** How the person at the terminal runs this program, so that a printed command works when it is pasted. */
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { type Address, defaultAddress } from '../config/settings.js'

/**
 * `aibridge` where it is installed on the PATH, `npx aibridge` in a project that depends on it, else `node` and the path of the
 * program: relative when it lies below the working directory, as in a clone.
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

/** The flags that lead a command to this address, each after a space; none where it is the default. */
export function addressFlags({ dataDir, host, port }: Address): string {
  return [
    dataDir === defaultAddress.dataDir ? '' : ` --data ${shellWord(dataDir)}`,
    host === defaultAddress.host ? '' : ` --host ${shellWord(host)}`,
    port === defaultAddress.port ? '' : ` --port ${port}`,
  ].join('')
}

/** A word as a POSIX shell reads it back. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
